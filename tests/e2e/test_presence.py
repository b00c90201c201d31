"""Presence, as stock clients see it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from presence.lib0 import encode_bytes, encode_uint
from tests.e2e.node import KINDS, Client, Kind, Node
from tests.e2e.server import Server

every_kind = pytest.mark.parametrize("kind", KINDS)

# Stock clients renew after 15 seconds: what takes longer than this was not told but found out.
AT_ONCE = 8


async def here(node: Node, server: Server, room: str, kinds: list[Kind], **how: object) -> list[Client]:
    """Clients that all see each other."""
    clients = [await node.client(f"{room} {n}", kind, server, room, **how) for n, kind in enumerate(kinds)]
    for n, client in enumerate(clients):
        await client.set_awareness({"user": {"name": f"n{n}", "color": "#f00"}, "cursor": n})
    await see_each_other(clients)
    return clients


async def see_each_other(clients: list[Client]) -> None:
    for client in clients:
        others = sorted(other.id for other in clients if other is not client)
        await client.wait(seconds=AT_ONCE, others=others)


async def test_everybody_sees_exactly_those_who_are_here(node: Node, shared_server: Server, room: str) -> None:
    clients = await here(node, shared_server, room, [*KINDS, *KINDS])
    names = {other.id: f"n{n}" for n, other in enumerate(clients)}
    for client in clients:
        with anyio.fail_after(AT_ONCE):  # a client shows itself first, and its name a moment later
            while {
                id_: state.get("user", {}).get("name") for id_, state in (await client.awareness()).items()
            } != names:
                await anyio.sleep(0.05)


@every_kind
async def test_p5_a_late_joiner_sees_who_is_there_and_silent(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [*KINDS])
    late = await node.client("late", kind, shared_server, room)
    await see_each_other([*clients, late])
    assert (await late.awareness())[clients[0].id]["cursor"] == 0


@every_kind
async def test_p5_who_comes_back_sees_those_who_kept_silent_meanwhile(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [kind, "y-websocket-3", "hocuspocus-4"])
    for attempt in range(2, 6):
        await clients[0].terminate()
        await clients[0].wait(attempts=attempt, synced=True)
        await see_each_other(clients)


@every_kind
async def test_p4_a_killed_client_is_gone_and_nobody_else(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [*KINDS])
    other_process = await Node.start()
    victim = await other_process.client("victim", kind, shared_server, room)
    await clients[0].wait(others=sorted([*(client.id for client in clients[1:]), victim.id]))
    await other_process.kill()
    await see_each_other(clients)
    for client in clients:
        assert (await client.summary())["presence"]["removed"] == 1


@every_kind
async def test_a_client_that_leaves_in_good_order_is_gone_at_once(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [*KINDS])
    leaver = await node.client("leaver", kind, shared_server, room)
    await see_each_other([*clients, leaver])
    await leaver.destroy()
    await see_each_other(clients)


@every_kind
async def test_p6_a_client_that_reconnects_under_its_id_is_seen_again_at_once(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [kind, "y-websocket-2", "hocuspocus-4"])
    for attempt in range(2, 12):
        await clients[0].terminate()
        await clients[0].wait(attempts=attempt, synced=True)
        await see_each_other(clients)
    assert (await clients[1].awareness())[clients[0].id]["cursor"] == 0


@every_kind
async def test_p2_a_verified_user_who_reconnects_before_the_old_close_never_flickers(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    token = guarded_server.token("bob", "Bob")
    witnesses = [
        await node.client("one", "y-websocket-3", guarded_server, room, token=token),
        await node.client("two", "hocuspocus-4", guarded_server, room, token=token),
    ]
    ada = await node.client("ada", kind, guarded_server, room, token=guarded_server.token("ada", "Ada"))
    await see_each_other([*witnesses, ada])
    for attempt in range(2, 12):
        await ada.abandon()
        await ada.wait(attempts=attempt, synced=True)
        await ada.set_awareness({"cursor": attempt})
        for witness in witnesses:
            while (await witness.awareness())[ada.id].get("cursor") != attempt:
                pass
        await ada.drop_abandoned()
    await see_each_other([*witnesses, ada])
    for witness in witnesses:
        assert (await witness.summary())["presence"]["removed"] == 0


@pytest.mark.parametrize("kind", ["y-websocket-2", "y-websocket-3", "hocuspocus-3"])
async def test_an_unverified_client_is_seen_again_when_its_old_connection_closes(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    clients = await here(node, shared_server, room, [kind, "y-websocket-3", "hocuspocus-4"])
    for attempt in range(2, 6):
        await clients[0].abandon()
        await clients[0].wait(attempts=attempt, synced=True)
        await clients[0].drop_abandoned()
        # y-protocols counts who comes back as updated
        await clients[1].wait(presence={"added": 2, "removed": attempt - 1})
        await see_each_other(clients)


async def test_everybody_sees_everybody_again_after_a_restart(node: Node, server: Server, room: str) -> None:
    clients = await here(node, server, room, [*KINDS])
    for end in (server.stop, server.kill):
        end()
        server.start()
        for client in clients:
            await client.wait(synced=True)
        await see_each_other(clients)


async def test_p2_clients_that_echo_what_they_hear_own_nobody_else(
    node: Node, shared_server: Server, room: str
) -> None:
    clients = await here(node, shared_server, room, ["y-websocket-2"] * 12)
    for client in clients:
        await client.set_awareness({"cursor": "moved"})
    for number in (3, 7, 0):
        leaver = clients.pop(number)
        await leaver.terminate()
        await leaver.destroy()
        await see_each_other(clients)


async def test_p1_a_state_that_javascript_could_not_read_reaches_nobody_and_what_was_shown_before_stays(
    node: Node, server: Server, room: str
) -> None:
    clients = await here(node, server, room, [*KINDS])
    bad = await node.client("bad", "y-websocket-3", server, room)
    await bad.set_awareness({"cursor": "before"})
    await see_each_other([*clients, bad])
    for clock, state in enumerate((b'{"a":NaN}', b'"text"', b'{"a":' * 500, b'{"a":"' + bytes(70_000)), 50):
        entry = encode_uint(bad.id) + encode_uint(clock) + encode_bytes(state)
        await bad.raw(b"\x01" + encode_bytes(b"\x01" + entry))
    await bad.insert("an edit behind them")
    await node.converge([*clients, bad])
    await see_each_other([*clients, bad])
    for client in clients:
        assert (await client.awareness())[bad.id] == {"cursor": "before"}
    assert (await bad.summary())["attempts"] == 1


async def test_p1_half_a_character_in_a_state_is_shown_as_a_replacement(node: Node, server: Server, room: str) -> None:
    clients = await here(node, server, room, [*KINDS])
    cut = await node.client("cut", "y-websocket-3", server, room)
    await cut.set_awareness({"a": "\ud800"})
    for client in clients:
        with anyio.fail_after(AT_ONCE):
            while (await client.awareness()).get(cut.id) != {"a": "\ufffd"}:
                await anyio.sleep(0.05)


async def test_p3_a_forged_name_is_shown_as_the_one_that_was_verified(
    node: Node, guarded_server: Server, room: str
) -> None:
    ada = await node.client("ada", "y-websocket-3", guarded_server, room, token=guarded_server.token("ada", "Ada"))
    eve = await node.client("eve", "hocuspocus-4", guarded_server, room, token=guarded_server.token("eve", "Eve"))
    await see_each_other([ada, eve])
    await eve.set_awareness({"user": {"id": "ada", "name": "Ada", "color": "#0f0"}})
    while (shown := (await ada.awareness())[eve.id]) == {"user": {"id": "eve", "name": "Eve"}} or not shown:
        pass
    assert shown == {"user": {"id": "eve", "name": "Eve", "color": "#0f0"}}


async def test_p2_a_victims_client_cannot_be_moved_or_cleared(node: Node, guarded_server: Server, room: str) -> None:
    ada = await node.client("ada", "y-websocket-3", guarded_server, room, token=guarded_server.token("ada", "Ada"))
    eve = await node.client("eve", "y-websocket-3", guarded_server, room, token=guarded_server.token("eve", "Eve"))
    bob = await node.client("bob", "hocuspocus-3", guarded_server, room, token=guarded_server.token("bob", "Bob"))
    await ada.set_awareness({"cursor": 1})
    await see_each_other([ada, eve, bob])
    while "cursor" not in (await bob.awareness())[ada.id]:
        pass
    for clock, state in ((2000, b'{"cursor":666}'), (3000, b"null")):
        entry = encode_uint(ada.id) + encode_uint(clock) + encode_bytes(state)
        await eve.raw(b"\x01" + encode_bytes(b"\x01" + entry))
    await eve.set_awareness({"after": True})
    while "after" not in (await bob.awareness())[eve.id]:
        pass
    assert (await bob.awareness())[ada.id]["cursor"] == 1
    assert (await bob.summary())["presence"]["removed"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "state",
    [
        {"user": {"initials": "\ud83e"}},
        {"selected": [f"shape:{n:020}" for n in range(150)]},
        {"avatar": "data:" + "x" * 200_000},
        "a text",
        [1, 2],
    ],
    ids=["half an emoji", "many shapes", "a huge avatar", "a text", "a list"],
)
async def test_whatever_somebody_shows_their_edits_go_on(
    node: Node, shared_server: Server, room: str, kind: Kind, state: Any
) -> None:
    author = await node.client("author", kind, shared_server, room)
    other = await node.client("other", "y-websocket-3", shared_server, room)
    await author.wait(synced=True)
    await other.wait(synced=True)
    await author.set_awareness(state)
    await author.insert("goes on")
    await other.wait(text="goes on")
    summary = await author.wait(unsynced=0)
    assert summary["closes"] == []
    if isinstance(state, dict) and "avatar" not in state:
        await other.wait(people=2)
