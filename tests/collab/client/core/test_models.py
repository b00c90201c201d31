"""Rows as instances of an application's classes, and instances as JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from collab.client.core.copies import own
from collab.client.core.models import as_data, reader_of
from collab.client.core.values import plain
from collab.errors import InvalidRequest, ValidationFailed


class Model(pydantic.BaseModel):
    id: str
    kind: str = pydantic.Field(alias="class")
    due: datetime | None = None
    tags: list[str] = []


class Struct(msgspec.Struct):
    id: str
    kind: str = msgspec.field(name="class")
    due: datetime | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] = []


@dataclass
class Plain:
    id: str
    due: datetime | None = None
    tags: list[str] = field(default_factory=list)


class Dict(TypedDict):
    id: str


class StrictModel(pydantic.BaseModel):
    id: Any

    @pydantic.field_validator("id")
    @classmethod
    def only_short(cls, value: str) -> str:
        return {"short": value}[value]

    @pydantic.field_serializer("id")
    def fails(self, value: str) -> str:
        raise KeyError(value)


class StrictStruct(msgspec.Struct):
    id: Any

    def __post_init__(self) -> None:
        _ = {"short": 1}[self.id] if isinstance(self.id, str) else 0


@dataclass
class StrictPlain:
    id: Any

    def __post_init__(self) -> None:
        _ = {"short": 1}[self.id] if isinstance(self.id, str) else 0


ROW = {"id": "t1", "class": "bug", "due": "2026-01-02T00:00:00.000Z", "tags": ["a"]}


@pytest.mark.parametrize("kind", [Model, Struct, Plain])
def test_a_row_becomes_an_instance(kind: Any) -> None:
    made = reader_of(kind)(ROW)
    assert type(made) is kind
    assert (made.id, made.due, made.tags) == ("t1", datetime(2026, 1, 2, tzinfo=UTC), ["a"])


def test_a_row_of_a_typed_dict_is_the_row() -> None:
    assert reader_of(Dict)(ROW) is ROW
    assert reader_of(dict)(ROW) is ROW


@pytest.mark.parametrize("kind", [Model, Struct, Plain])
def test_a_row_that_does_not_fit_is_refused_with_its_id_and_the_reason(kind: Any) -> None:
    with pytest.raises(ValidationFailed, match=f"^t1: this is no {kind.__name__}: .*tags"):
        reader_of(kind)({**ROW, "tags": 5})


@pytest.mark.parametrize("kind", [StrictModel, StrictStruct, StrictPlain])
def test_whatever_a_class_raises_the_row_does_not_fit(kind: Any) -> None:
    with pytest.raises(ValidationFailed, match=f"^t1: this is no {kind.__name__}: 't1'") as caught:
        reader_of(kind)({"id": "t1"})
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("kind", [int, str, object, "Model"])
def test_other_classes_are_refused_before_there_is_a_row(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="is no pydantic model"):
        reader_of(kind)


def test_instances_are_written_as_what_was_set_in_them() -> None:
    model = Model.model_validate({"id": "t1", "class": "bug"})
    assert as_data({"all": [model, Struct("t1", "bug")]}) == {
        "all": [{"id": "t1", "class": "bug"}, {"id": "t1", "class": "bug", "tags": []}]
    }
    assert as_data(Plain("t1")) == {"id": "t1", "due": None, "tags": []}
    assert as_data("text") == "text"


@pytest.mark.parametrize("value", [StrictModel.model_construct(id=1), StrictStruct(object()), StrictPlain(object())])
def test_an_instance_that_has_no_form_in_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"this {type(value).__name__} has no form in JSON"):
        as_data([value])


def test_what_contains_itself_is_left_to_the_limit_of_nesting() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidRequest, match="nested"):
        plain(as_data(endless))


@pytest.mark.parametrize("kind", [Model, Struct, Plain])
def test_a_copy_of_an_instance_shares_nothing_with_it(kind: Any) -> None:
    made = reader_of(kind)(ROW)
    copied = own([made])[0]
    copied.tags.append("b")
    assert (made.tags, copied.tags, type(copied)) == (["a"], ["a", "b"], kind)
