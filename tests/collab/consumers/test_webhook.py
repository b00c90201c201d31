from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from collab.consumers.webhook import Webhook, body_of, message_id, read_secret, signed
from collab.event import EntityEvent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://example.com/events"


def hook(**more: Any) -> Webhook:
    return Webhook(**{"name": "crm", "url": URL, "secret": SECRET, **more})


def event(collection: str = "tasks", kind: Any = "updated") -> EntityEvent:
    return EntityEvent(
        position=7,
        type=kind,
        collection=collection,
        id="t.1",
        version=2,
        data={"id": "t.1", "title": "ä"},
        changes={"title": {"from": "a", "to": "ä"}},
        user_id="ada",
        at="2024-01-31T12:00:00.000Z",
    )


def test_h2_the_signature_is_that_of_the_scheme() -> None:
    # the key, id, time, body and signature that libraries of the scheme are tested with
    body = b'{"test": 2432232314}'
    headers = signed(body, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, (SECRET,))
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_h2_while_a_secret_is_replaced_both_sign() -> None:
    other = "whsec_" + b64encode(b"x" * 24).decode()
    both = signed(b"{}", "evt_1", 1, hook(secret=other, previous_secret=SECRET).secrets)["webhook-signature"]
    alone = [signed(b"{}", "evt_1", 1, (secret,))["webhook-signature"] for secret in (other, SECRET)]
    assert both.split(" ") == alone


def test_h2_no_full_stop_in_a_message_can_move_the_parts_that_are_signed() -> None:
    assert "." not in message_id("ab12", "a.b", 7)
    names = {
        message_id("ab12", project, position) for project in ("a", "b", "a.b", "a_1", "a_7") for position in (1, 7)
    }
    assert len({*names, message_id("ab1", "a", 27)}) == 11


def test_h1_the_body_names_what_happened() -> None:
    body = msgspec.json.decode(body_of("default", event()))
    assert body["type"] == "tasks.updated"
    assert body["timestamp"] == "2024-01-31T12:00:00.000Z"
    assert body["project"] == "default"
    assert msgspec.convert(body["data"], EntityEvent) == event()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, True),
        ({"collections": ("tasks", "notes")}, True),
        ({"collections": ("ta*",)}, True),
        ({"collections": ("notes",)}, False),
        ({"types": ("created", "updated")}, True),
        ({"types": ("deleted",)}, False),
        ({"project": "other"}, False),
    ],
)
def test_h1_only_what_is_wanted_is_sent(options: dict[str, Any], wanted: bool) -> None:
    assert hook(**options).wants("default", event()) is wanted


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a b"},
        {"url": "example.com"},
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "https://example.com:0"},
        {"url": "https://example.com:x"},
        {"url": "https://example.com/a b"},
        {"url": "https://example.com/\n"},
        {"url": "https://example.com/#part"},
        {"url": "https://[::1"},
        {"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        {"secret": "whsec_c2hvcnQ="},
        {"secret": "whsec_" + b64encode(b"x" * 65).decode()},
        {"secret": "whsec_ä"},
        {"previous_secret": "whsec_"},
        {"collections": ("a/b",)},
        {"types": ("exploded",)},
        {"project": "a b"},
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused_without_telling_secrets(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message differs
        hook(**options)
    assert SECRET not in str(refused.value)


def test_its_name_is_all_that_it_shows() -> None:
    assert repr(hook()) == "<Webhook crm of project default>"
    assert len(read_secret(SECRET)) == 24
