"""The log of refusals stays short, however many there are."""

from __future__ import annotations

import pytest

from collab import Settings
from collab.server.notices import Notices, quoted, startup_warnings

SECRET = "a secret of the tests, of more than 32 bytes"


def test_the_same_is_told_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for now in (0.0, 1.0, 3599.0, 3600.0, 3601.0):
        notices.tell("refused", now)
    assert caplog.messages == ["refused", "refused"]


def test_a_flood_is_told_ten_times_a_minute_and_remembered_in_bounds(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for count in range(100_000):
        notices.tell(f"refused {count}", count / 1000)
    assert len(caplog.messages) == 20
    assert len(notices._told) <= 1000


def test_the_last_messages_are_kept_with_how_often_they_came_logged_or_not() -> None:
    notices = Notices()
    for count in range(1000):
        notices.tell(f"refused {count % 300}", 0.0)
    recent = notices.recent
    assert len(recent) == 200
    assert recent[0].message == "refused 99"
    assert (recent[0].count, recent[0].first <= recent[0].last) == (1, True)
    notices.tell("refused 99", 0.0)
    assert notices.recent[0].count == 2


def test_what_somebody_sent_is_one_short_line_of_the_log() -> None:
    assert quoted("a\nb\x1b[31m" + "c" * 1000) == "'a\\nb\\x1b[31m" + "c" * 92 + "'"


def test_a_server_says_at_its_start_what_looks_like_a_slip() -> None:
    environ = {"COLLAB_JWT_SECRET": SECRET}
    assert startup_warnings(Settings(), environ, is_open=True) == [
        "COLLAB_JWT_SECRET is set, but nothing has read it: Settings.from_env() does",
        "no credentials are configured: everybody on this machine may read and write everything",
    ]
    assert startup_warnings(Settings.from_env(environ), environ, is_open=False) == []
    (told,) = startup_warnings(Settings(open=True), {}, is_open=True)
    assert "everybody who can connect" in told
