"""Which elements of two lists correspond to each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from difflib import SequenceMatcher

_LONG = 4_000_000  # pairs of elements from which on a heuristic ignores frequent ones
_MANY = 20_000  # pairs of elements that are compared for similarity


def matches(mine: Sequence[Hashable], theirs: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """The places of equal elements, in the order of both lists."""
    size = min(len(mine), len(theirs))
    head = next((n for n in range(size) if mine[n] != theirs[n]), size)
    tail = next((n for n in range(size - head) if mine[-1 - n] != theirs[-1 - n]), size - head)
    yield from ((n, n) for n in range(head))
    one, other = mine[head : len(mine) - tail], theirs[head : len(theirs) - tail]
    if one and other:
        for block in SequenceMatcher(None, one, other, autojunk=len(one) * len(other) > _LONG).get_matching_blocks():
            yield from ((head + block.a + n, head + block.b + n) for n in range(block.size))
    yield from ((len(mine) - tail + n, len(theirs) - tail + n) for n in range(tail))


def kept(mine: Sequence[Sequence[Hashable]], theirs: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The elements of ours that theirs has too, and where it begins there.

    Each of ours may count as several of theirs in a row, and is kept only with all of them. Those that count as none
    are left out.
    """
    flat: list[Hashable] = []
    starts = []
    for keys in mine:
        starts.append(len(flat))
        flat += keys
    places = dict(matches(flat, theirs))
    found = []
    for i, keys in enumerate(mine):
        j = places.get(starts[i])
        if keys and j is not None and all(places.get(starts[i] + n) == j + n for n in range(len(keys))):
            found.append((i, j))
    return found


def pairs(mine: int, theirs: int, score: Callable[[int, int], float]) -> list[tuple[int, int]]:
    """Pair elements of two lists in order, with the highest sum of scores; 0 pairs nothing."""
    if mine * theirs > _MANY:
        return [(n, n) for n in range(min(mine, theirs)) if score(n, n)]
    best = [[0.0] * (theirs + 1) for _ in range(mine + 1)]
    scores = [[score(i, j) for j in range(theirs)] for i in range(mine)]
    for i in range(mine - 1, -1, -1):
        for j in range(theirs - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], scores[i][j] + best[i + 1][j + 1])
    found = []
    i = j = 0
    while i < mine and j < theirs:
        if scores[i][j] and best[i][j] == scores[i][j] + best[i + 1][j + 1]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def changed_words(mine: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """The places of characters that stay: of equal words, and of the equal ends of words that changed."""
    one, other = _words(mine), _words(theirs)
    found: list[tuple[int, int]] = []
    a = b = 0  # how far both are compared
    for start, end, at in [*_equal_words(one, other), (len(mine), len(mine), len(theirs))]:
        size = min(start - a, at - b)
        head = next((n for n in range(size) if mine[a + n] != theirs[b + n]), size)
        rest = size - head
        tail = next((n for n in range(rest) if mine[start - 1 - n] != theirs[at - 1 - n]), rest)
        found += ((a + n, b + n) for n in range(head))
        found += ((start - tail + n, at - tail + n) for n in range(tail))
        found += ((start + n, at + n) for n in range(end - start))
        a, b = end, at + end - start
    return found


def _equal_words(
    one: Sequence[tuple[int, tuple[str, ...]]], other: Sequence[tuple[int, tuple[str, ...]]]
) -> Iterator[tuple[int, int, int]]:
    """Where each begins and ends in ours, and begins in theirs."""
    for i, j in matches([word for _, word in one], [word for _, word in other]):
        start, word = one[i]
        yield start, start + len(word), other[j][0]


def _words(characters: Sequence[str]) -> list[tuple[int, tuple[str, ...]]]:
    """Words with the place of each; every other character stands alone."""
    found: list[tuple[int, tuple[str, ...]]] = []
    start = 0
    for n, character in enumerate(characters):
        if not character.isalnum():
            if start < n:
                found.append((start, tuple(characters[start:n])))
            found.append((n, (character,)))
            start = n + 1
    if start < len(characters):
        found.append((start, tuple(characters[start:])))
    return found
