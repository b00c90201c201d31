from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collab.client.core.options import RateLimit, WebSocketOptions, read_options
from collab.errors import InvalidRequest


def test_options_are_a_mapping_or_typed() -> None:
    typed = WebSocketOptions(reconnect_strategy="linear", subscription_rate_limit=RateLimit(max_subscriptions=5))
    assert read_options(typed) == typed
    raw = {"reconnect_strategy": "linear", "subscription_rate_limit": {"max_subscriptions": 5}}
    assert read_options(raw) == typed
    assert read_options({**raw, "subscription_rate_limit": RateLimit(max_subscriptions=5)}) == typed
    assert read_options(None) == WebSocketOptions()


def test_a_callback_is_kept() -> None:
    def failed() -> None: ...

    assert read_options({"on_reconnect_failed": failed}).on_reconnect_failed is failed


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"reconnect_stategy": "linear"}, "reconnect_stategy"),
        ({"reconnect_strategy": "quadratic"}, "quadratic"),
        ({"heartbeat_interval": 0}, "heartbeat_interval"),
        ({"max_attempts": -1}, "max_attempts"),
        ({"on_reconnect_failed": "now"}, "on_reconnect_failed"),
        ({"subscription_rate_limit": {"max_subscriptions": 0}}, "max_subscriptions"),
    ],
)
def test_what_makes_no_sense_is_named(raw: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        read_options(raw)


def test_options_that_an_application_has_built_are_read_as_well() -> None:
    options = WebSocketOptions(max_delay=5, subscription_rate_limit=RateLimit(max_subscriptions=3))
    assert read_options(options) == options
    with pytest.raises(InvalidRequest, match="max_delay"):
        read_options(WebSocketOptions(max_delay="long"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(WebSocketOptions)])
def test_each_option_is_documented(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).parents[4] / "docs/clients.md").read_text()
