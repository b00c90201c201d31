"""A small independent model of the rules: who may do what with which row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

NONE, READ, WRITE = range(3)
WORDS = {"none": NONE, "read": READ, "write": WRITE}
USER, TEAM = "alice", "red"
MEANS = {"$userId": USER, "$claims.team": TEAM}

Row = Mapping[str, Any]

OURS: Row = {"owner": USER, "team": TEAM, "locked": False, "n": 1}
THEIRS: Row = {"owner": "bob", "team": "blue", "locked": True, "n": 1}
ROWS = {(name, whose): row for name in ("open", "secret") for whose, row in (("ours", OURS), ("theirs", THEIRS))}


class Rule(NamedTuple):
    glob: str
    word: str
    where: Row | None = None

    def names(self, collection: str, entity: str = "") -> bool:
        of, _, name = self.glob.partition("/")
        return fnmatchcase(collection, of) and (not entity or fnmatchcase(entity, name))

    def holds(self, row: Row) -> bool:
        return all(row.get(field) == MEANS.get(value, value) for field, value in (self.where or {}).items())


class Rights:
    """The rights of one credential, according to the model."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules

    def claim(self) -> dict[str, Any]:
        """The rules in a token's form."""
        return {
            rule.glob: {"access": rule.word, "where": dict(rule.where)} if rule.where else rule.word
            for rule in self.rules
        }

    def to(self, collection: str, entity: str, row: Row) -> int:
        """The first rule that matches the row decides."""
        for rule in self.rules:
            if rule.names(collection, entity) and rule.holds(row):
                return WORDS[rule.word]
        return NONE

    def whatever(self, collection: str, entity: str) -> int:
        """The minimum over all possible rows, for a missing row."""
        least = WRITE
        for rule in self.rules:
            if rule.names(collection, entity):
                least = min(least, WORDS[rule.word])
                if not rule.where:
                    return least
        return NONE

    def sees_some(self, collection: str) -> bool:
        """Whether any possible row would be visible."""
        for rule in self.rules:
            if rule.names(collection):
                if WORDS[rule.word] >= READ:
                    return True
                if rule.glob.endswith("/*") and not rule.where:
                    return False
        return False


def forms(collection: str, word: str) -> Iterator[tuple[str, Rights]]:
    """Rules of every form for a collection; each pattern occurs once, as in a JSON object."""
    yield "without rules", Rights([])
    yield "about everything", Rights([Rule("*/*", word)])
    yield "about the collection", Rights([Rule(f"{collection}/*", word)])
    yield "about another collection", Rights([Rule(f"x{collection}/*", word)])
    yield "by name", Rights([Rule(f"{collection}/open*", word)])
    yield "a name excepted", Rights([Rule(f"{collection}/secret*", "none"), Rule(f"{collection}/*", word)])
    yield "by row", Rights([Rule(f"{collection}/*", word, {"owner": "$userId"})])
    yield "by claim", Rights([Rule(f"{collection}/*", word, {"team": "$claims.team", "locked": False})])
    yield "a row excepted", Rights([Rule(f"{collection}/*", "none", {"locked": True}), Rule("*/*", word)])
    yield "more by row", Rights([Rule(f"{collection}/*", "write", {"owner": "$userId"}), Rule("*/*", word)])
