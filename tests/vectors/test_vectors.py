"""The Python code is held to the golden vectors, which are up to date. The JavaScript code is by js/client/test."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from collab.client.core.failures import closed, rebuild
from collab.query.match import select
from collab.query.parse import parse_query
from collab.wire.realtime import encoding
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from tests.vectors.generate import FILES, FOLDER, text_of


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_are_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == text_of(name), "python -m tests.vectors.generate"


@pytest.mark.parametrize("case", read("messages.json"), ids=lambda case: case["json"][:40])
def test_both_forms_of_a_message_are_the_same_message(case: dict[str, Any]) -> None:
    decode: Any = encoding.decode_client if case["from"] == "client" else encoding.decode_server
    packed = bytes.fromhex(case["msgpack"])
    assert decode(case["json"]) == decode(packed)
    assert json.loads(case["json"]) == msgspec.msgpack.decode(packed[1:])


def test_there_is_a_vector_of_each_message() -> None:
    told = {json.loads(case["json"])["type"] for case in read("messages.json")}
    known = {
        kind.__struct_config__.tag for kind in [*realtime.ClientMessage.__args__, *realtime.ServerMessage.__args__]
    }
    assert told == known


def test_each_member_of_each_message_is_in_a_vector() -> None:
    told: dict[str, set[str]] = {}
    for case in read("messages.json"):
        message = json.loads(case["json"])
        told.setdefault(message["type"], set()).update(message)
    for kind in [*realtime.ClientMessage.__args__, *realtime.ServerMessage.__args__]:
        tag = str(kind.__struct_config__.tag)
        assert {field.encode_name for field in msgspec.structs.fields(kind)} <= told[tag], tag


def test_queries_give_the_rows_of_the_vectors() -> None:
    tables = read("tables.json")
    for case in read("queries.json"):
        found = select(tables[case["table"]], parse_query(case["query"]))
        assert [row["id"] for row in found] == case["ids"], case["query"]


@pytest.mark.parametrize("case", read("errors.json"), ids=lambda case: case["closeCode"])
def test_clients_read_errors_as_the_server_means_them(case: dict[str, Any]) -> None:
    error = rebuild(msgspec.convert(case["error"], wire.Error))
    assert error.code == case["error"]["code"]
    assert closed(case["closeCode"], "").retryable == case["retryable"]
