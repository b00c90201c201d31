from __future__ import annotations

import inspect

import pytest

from collab import errors
from collab.client.core.failures import closed, rebuild, refused
from collab.errors import CollabError
from collab.wire.realtime import values as wire

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CollabError)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_comes_back_with_its_code_message_and_details(kind: type[CollabError]) -> None:
    error = rebuild(wire.Error.of(kind("not so", field="title")))
    assert (error.code, error.type, error.message) == (kind.code, kind.code, "not so")
    assert error.details["field"] == "title"


def test_a_code_of_a_newer_server_is_kept_in_the_details() -> None:
    error = rebuild(wire.Error(code="TEAPOT", message="short", details={"message": "and stout"}))
    assert isinstance(error, errors.InternalError)
    assert error.details == {"message": "and stout", "code": "TEAPOT"}


@pytest.mark.parametrize("kind", ALL)
def test_a_close_code_tells_whether_to_come_back(kind: type[CollabError]) -> None:
    assert closed(kind.close_code, "so").retryable == kind().retryable


def test_unknown_close_codes_follow_the_convention() -> None:
    assert not closed(4499, "").retryable
    assert closed(4999, "").retryable
    assert closed(1006, "").code == "CONNECTION_LOST"


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (403, False), (404, False), (429, True), (502, True)])
def test_a_refused_handshake_tells_whether_to_come_back(status: int, retryable: bool) -> None:
    assert refused(status).retryable is retryable
