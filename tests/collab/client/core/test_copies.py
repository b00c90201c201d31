from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from collab.client.core.copies import own
from collab.client.core.effects import Met
from collab.client.core.values import Entity, Rows
from collab.client.core.views import Crowd, Event
from collab.errors import CollabError, Conflict, ConnectionLost
from collab.event import FieldConflict
from collab.wire.realtime.encoding import Misunderstood
from collab.wire.realtime.values import Person
from tests.collab.client.core.test_values import JSON

AT = "2024-01-01T00:00:00.000Z"
CONFLICT = FieldConflict(field="f", base=[1], theirs={"a": [1]}, yours=None, winner="yours", user_id=None, at=AT)


def containers(value: Any) -> list[int]:
    """The identities of everything in a value that can be changed."""
    found = [] if isinstance(value, str | int | float | None | tuple) else [id(value)]
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        inner = [getattr(value, name) for name in getattr(value, "__struct_fields__", ())]
    inner += list(getattr(value, "__dict__", {}).values())
    return found + [each for item in inner for each in containers(item)]


@given(JSON)
def test_a_copy_of_json_is_equal_and_shares_nothing(value: Any) -> None:
    copied = own(value)
    assert copied == value
    assert not set(containers(copied)) & set(containers(value))


def entity() -> Entity:
    made = Entity({"tags": ["x"]}, 3)
    made.conflicts = (CONFLICT,)
    made.content = {"text": ["delta"]}
    return made


def page() -> Rows:
    made = Rows([{"tags": ["x"]}], [1])
    made.permissions, made.next = [{"write": True}], "cursor"
    return made


EVENT = Event(
    position=1,
    type="updated",
    collection="tasks",
    id="t",
    version=2,
    data={"tags": ["x"]},
    changes={"tags": {"to": ["x"]}},
    user_id=None,
    at=AT,
    conflicts=(CONFLICT,),
    permissions={"write": True},
)


@pytest.mark.parametrize(
    "value",
    [
        entity(),
        page(),
        Crowd([Person(key="a", state={"cursor": [1]})], 7),
        EVENT,
        Met("tasks", "t", {"tags": []}, 2, (CONFLICT,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_copy_of_a_record_has_its_class_and_attributes_and_shares_nothing(value: Any) -> None:
    copied = own(value)
    assert type(copied) is type(value)
    assert copied == value
    assert getattr(copied, "__dict__", None) == getattr(value, "__dict__", None)
    assert not set(containers(copied)) & set(containers(value))


class Own(CollabError):
    """An error of the application, with arguments of its own."""

    def __init__(self, number: int, lock: object) -> None:
        super().__init__(f"number {number}", list=[number])
        self.lock = lock


@pytest.mark.parametrize(
    "error", [Conflict("met", data={"tags": ["x"]}), Misunderstood("what", 5), Own(5, object()), ConnectionLost()]
)
def test_a_copy_of_an_error_has_its_class_details_and_cause_but_no_traceback(error: CollabError) -> None:
    cause = OSError("down")
    error.add_note("note")
    try:
        raise error from cause
    except CollabError:
        copied = own(error)
    assert (type(copied), copied.args, copied.__dict__) == (type(error), error.args, error.__dict__)
    assert (copied.__traceback__, copied.__context__, copied.__cause__) == (None, None, cause)
    copied.details["new"] = 1
    copied.add_note("another")
    assert "new" not in error.details
    assert error.__notes__ == ["note"]
    assert own(None) is None
