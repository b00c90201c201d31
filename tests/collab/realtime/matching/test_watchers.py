"""Watchers of one query are told one after the other, whatever they do."""

from __future__ import annotations

from collab.errors import CollabError, InternalError
from collab.realtime.matching.watchers import tell_all, tell_failure


class Watcher:
    """It notes what it is told. ``raises``: what it cannot take."""

    def __init__(self, *raises: str) -> None:
        self.raises = raises
        self.told: list[str] = []
        self.errors: list[CollabError] = []

    def tell(self, text: str) -> None:
        self.told.append(text)
        if "tell" in self.raises:
            raise ValueError(text)

    def failed(self, error: CollabError) -> None:
        self.errors.append(error)
        if "failed" in self.raises:
            raise ValueError("failed")


def test_all_watchers_are_told() -> None:
    watchers: dict[object, Watcher] = {1: Watcher(), 2: Watcher()}
    assert not tell_all(watchers, lambda watcher: watcher.tell("a"))
    assert [each.told for each in watchers.values()] == [["a"], ["a"]]


def test_a_watcher_that_raises_is_removed_and_told_so_and_the_others_go_on() -> None:
    broken, whole = Watcher("tell", "failed"), Watcher()
    watchers: dict[object, Watcher] = {1: broken, 2: whole}
    assert tell_all(watchers, lambda watcher: watcher.tell("a"))
    assert not tell_all(watchers, lambda watcher: watcher.tell("b"))
    assert (broken.told, whole.told) == (["a"], ["a", "b"])
    assert [type(error) for error in broken.errors] == [InternalError]


def test_a_watcher_that_another_one_closes_is_told_nothing_more() -> None:
    first, second = Watcher(), Watcher()
    watchers: dict[object, Watcher] = {1: first, 2: second}

    def tell(watcher: Watcher) -> None:
        watcher.tell("a")
        watchers.pop(2, None)

    assert not tell_all(watchers, tell)
    assert (first.told, second.told) == (["a"], [])


def test_a_failure_reaches_a_watcher_that_raises_at_it_without_harm() -> None:
    watcher = Watcher("failed")
    tell_failure(watcher, InternalError("over"))
    assert len(watcher.errors) == 1
