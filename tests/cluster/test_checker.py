"""The checker finds what is wrong: a check that cannot fail shows nothing."""

from __future__ import annotations

from tests.chaos.writer import Writer, entry
from tests.cluster import checker


def test_a_commit_by_who_does_not_own_the_room_is_complained_of() -> None:
    assert checker.tenures([("r", 1, 1), ("r", 1, 1), ("r", 2, 2), ("r", 1, 1), ("s", 2, 2)]) == []
    assert len(checker.tenures([("r", 1, 1), ("r", 1, 2)])) == 1, "the next owner is there already"
    assert len(checker.tenures([("r", 1, None)])) == 1, "nobody owns it"
    assert len(checker.tenures([("r", None, 1)])) == 1
    assert len(checker.tenures([("r", 1, 2)] * 100)) == 6


def test_documents_that_lack_or_double_an_entry_or_differ_are_complained_of() -> None:
    writer = Writer("w", "r")
    writer.made, writer.saved = 3, 2
    good = [entry("w", number, 1) for number in range(3)]
    assert checker.documents([writer], [("a", "r", good), ("b", "r", good)]) == []
    assert checker.documents([writer], [("a", "r", good[:2]), ("b", "r", good[:2])]) == []
    assert "lost" in "".join(checker.documents([writer], [("a", "r", good[:1])]))
    assert "doubled" in "".join(checker.documents([writer], [("a", "r", [*good, good[0]])]))
    assert "different" in "".join(checker.documents([writer], [("a", "r", good), ("b", "r", good[:2])]))
    assert "different" in "".join(checker.documents([writer], [("a", "r", good), ("b", "r", [*good[1:], good[0]])]))


def test_events_that_are_missing_or_doubled_or_out_of_order_are_complained_of_unless_the_subscriber_was_warned() -> (
    None
):
    one, two, three = (1, "a", 1), (3, "b", 1), (4, "a", 2)
    happened = [one, two, three]
    assert checker.told(happened, [one, two, three]) == []
    assert checker.told(happened, [one, None, three]) == []
    assert checker.told(happened, [one, two, None]) == []
    assert len(checker.told(happened, [one, three])) == 1
    assert len(checker.told(happened, [two, three])) == 1
    assert len(checker.told(happened, [one, two])) == 1
    assert len(checker.told(happened, [one, two, two, three])) == 1
    assert len(checker.told(happened, [one, None, one, two, three])) == 1
    assert len(checker.told(happened, [one, two, three, (5, "c", 1)])) == 1
    assert len(checker.told(happened, [one, three, two])) >= 2


def test_an_event_that_stands_for_several_is_as_good_as_each_of_them() -> None:
    happened = [(1, "a", 1), (3, "b", 1), (4, "a", 2), (6, "b", 2), (7, "a", 3)]

    def complaints(*heard: checker.Heard) -> list[str]:
        return checker.told(happened, checker.apart(happened, heard))

    assert complaints((1, "a", 1), (3, "b", 1), (6, "b", 2), ((7, "a", 3), 2)) == []
    assert complaints(((7, "a", 3), 3), ((6, "b", 2), 2)) == []
    assert complaints(None, (3, "b", 1), (6, "b", 2), ((7, "a", 3), 2)) == []
    assert len(complaints((1, "a", 1), (3, "b", 1), (6, "b", 2), (7, "a", 3))) == 1, "one was left out"
    assert len(complaints((1, "a", 1), ((7, "a", 3), 2), (3, "b", 1))) >= 2, "one is late, and one missing"
    assert len(complaints(((7, "a", 3), 4), ((6, "b", 2), 2))) == 1, "it stands for one that never happened"


def test_a_traceback_in_a_log_is_complained_of() -> None:
    assert checker.tidy("INFO all is well", "a") == []
    fenced = "ERROR x\nTraceback (most recent call last):\nFenced: another process"
    assert checker.tidy(f"2026-11-29 21:00:00 {fenced}", "a") == []
    two = f"2026-11-29 21:00:00 {fenced}\n2026-11-29 21:00:00 ERROR x\nTraceback (most recent call last):\nOSError"
    assert len(checker.tidy(two, "a")) == 1
    assert len(checker.tidy("ERROR x\nTraceback (most recent call last):\n", "a")) == 1
