"""Values that an application's own routes may return."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, TypeAdapter

from collab import EntityEvent, Found, FoundMany, Written
from collab.event import FieldConflict
from collab.jsonable import Jsonable

VALUES: list[Jsonable] = [
    Written(data={"id": "a"}, version=1, conflicts=(FieldConflict("f", 1, 2, 3, "yours", "ann", None),)),
    Found(data={"id": "a"}, version=1, deleted=True),
    FoundMany(rows=[{"id": "a", "tags": ["x"]}], versions=[1], next="n"),
    EntityEvent(1, "created", "tasks", "a", 1, {"id": "a"}, {"n": {"to": 1}}, "ann", "2024-01-01T00:00:00.000000Z"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_it_is_serialised_as_clients_are_told_it(value: Jsonable) -> None:
    told = json.loads(msgspec.json.encode(value))
    assert json.loads(json.dumps(dict(value))) == told
    assert jsonable_encoder(value) == told
    assert jsonable_encoder([value]) == [told]
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    assert json.loads(adapter.dump_json(value)) == told
    assert adapter.json_schema() == {"type": "object", "title": type(value).__name__}


def test_it_may_be_a_member_of_a_model() -> None:
    class Answer(BaseModel):
        found: FoundMany

    assert json.loads(Answer(found=VALUES[2]).model_dump_json())["found"]["next"] == "n"  # type: ignore[arg-type]
    assert Answer.model_json_schema()["properties"]["found"]["type"] == "object"
