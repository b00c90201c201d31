from __future__ import annotations

import base64
import json

import pytest

from collab.client.background import Background
from collab.client.core.options import RateLimit, WebSocketOptions
from collab.client.credentials import Credentials, renew_in
from collab.errors import AuthenticationFailed, CollabError, ConnectionLost
from collab.wire.realtime.messages import Hello


def token(claims: object) -> str:
    return "h." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".s"


def test_a_token_is_renewed_half_a_minute_before_its_end() -> None:
    assert renew_in(token({"exp": 1600}), 1000) == 570


def test_a_short_token_is_renewed_when_half_of_it_is_over() -> None:
    assert renew_in(token({"exp": 1020}), 1000) == 10
    assert renew_in(token({"exp": 900}), 1000) == 0


@pytest.mark.parametrize("text", [None, "", "key", "a.b", "a.%.c", token([]), token({}), token({"exp": "soon"})])
def test_what_does_not_end_is_not_renewed(text: str | None) -> None:
    assert renew_in(text, 0) is None


async def _async_token() -> str:
    return "async"


async def test_a_token_is_a_text_or_what_gives_it() -> None:
    assert await Credentials(token="plain").present(Background(), 60) == "plain"
    assert await Credentials(token=lambda: "given").present(Background(), 60) == "given"
    assert await Credentials(token=_async_token).present(Background(), 60) == "async"
    assert await Credentials().present(Background(), 60) is None


@pytest.mark.parametrize(("raised", "seen"), [(OSError("down"), ConnectionLost), (AuthenticationFailed(), None)])
async def test_without_a_token_there_is_no_connection(raised: Exception, seen: type[CollabError] | None) -> None:
    def fails() -> str:
        raise raised

    with pytest.raises(seen or type(raised)):
        await Credentials(token=fails).present(Background(), 60)


def test_limits_are_part_of_the_greeting() -> None:
    options = WebSocketOptions(subscription_rate_limit=RateLimit(max_subscriptions=3, max_events_per_second=9))
    hello = Credentials("p", "key", "ada").hello("token", options)
    assert hello == Hello(
        project_id="p", api_key="key", user_id="ada", token="token", max_subscriptions=3, max_events_per_second=9
    )
