"""The newest versions of the entities that a client has seen."""

from __future__ import annotations

from collab.client.core.versions import MOST_VERSIONS, Versions


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    versions = Versions()
    assert versions.get("tasks", "t1") is None
    versions.see("tasks", "t1", 3)
    versions.see("tasks", "t1", 2)
    versions.see("notes", "t1", 9)
    assert (versions.get("tasks", "t1"), versions.get("notes", "t1")) == (3, 9)


def test_it_forgets_the_entities_that_have_not_been_seen_for_longest() -> None:
    versions = Versions()
    for number in range(MOST_VERSIONS):
        versions.see("tasks", str(number), 1)
    versions.see("tasks", "0", 1)
    versions.see("tasks", "new", 1)
    assert [versions.get("tasks", each) for each in ("0", "1", "new")] == [1, None, 1]
