"""Bytes are added up by project, in bounded memory."""

from __future__ import annotations

from collab.server.sockets.traffic import SocketBytes, Traffic


def test_open_and_closed_sockets_are_one_sum_and_looking_adds_nothing() -> None:
    traffic = Traffic()
    traffic.closed("acme", 10, 1)
    traffic.closed("acme", 5, 2)
    traffic.closed(None, 3, 0)
    for _ in range(2):
        assert traffic.with_open([("acme", 100, 0), ("beta", 7, 7)]) == {
            "acme": SocketBytes(115, 3),
            "": SocketBytes(3, 0),
            "beta": SocketBytes(7, 7),
        }


def test_beyond_a_hundred_projects_share_a_sum() -> None:
    traffic = Traffic()
    for number in range(1000):
        traffic.closed(f"project-{number}", 1, 2)
    sums = traffic.with_open([])
    assert len(sums) == 101
    assert sums["*other*"] == SocketBytes(900, 1800)
