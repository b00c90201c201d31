import asyncio
from functools import partial

import pytest

from collab.server.sockets.send_turns import AT_ONCE, SendTurns


class Turns:
    """Notes who sends in which turn of the event loop, as long as somebody is to be waited for."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = [[]]
        self.sending = SendTurns()

    def ask(self, *names: str) -> None:
        for name in names:
            self.sending.ask(partial(self.sent, name))

    def sent(self, name: str) -> None:
        self.turns[-1].append(name)

    @property
    def count(self) -> int:
        return sum(map(len, self.turns))

    async def until(self, count: int) -> None:
        while self.count < count:
            await asyncio.sleep(0)
            self.turns.append([])


async def test_few_send_at_the_end_of_the_turn_in_which_they_ask() -> None:
    turns = Turns()
    turns.ask("a", "b", "c")
    assert turns.count == 0
    await asyncio.sleep(0)
    assert turns.turns[0] == ["a", "b", "c"]
    turns.ask("d")
    await asyncio.sleep(0)
    assert turns.turns[0] == ["a", "b", "c", "d"]


async def test_a_crowd_sends_in_several_turns_and_everybody_once() -> None:
    turns = Turns()
    crowd = [f"c{number}" for number in range(3 * AT_ONCE + 1)]
    turns.ask(*crowd)
    await turns.until(len(crowd))
    assert max(map(len, turns.turns)) == AT_ONCE
    assert [name for turn in turns.turns for name in turn] == crowd


async def test_who_asks_later_does_not_wait_for_the_rest_of_a_crowd() -> None:
    turns = Turns()
    crowd = [f"c{number}" for number in range(10 * AT_ONCE)]
    turns.ask(*crowd)
    await asyncio.sleep(0)
    turns.turns.append([])
    turns.ask("calm")
    await asyncio.sleep(0)
    assert turns.turns[1] == ["calm", *crowd[AT_ONCE : 2 * AT_ONCE]]


async def test_a_crowd_sends_however_many_others_ask_meanwhile() -> None:
    turns = Turns()
    crowd = [f"c{number}" for number in range(3 * AT_ONCE)]
    turns.ask(*crowd)
    for _ in range(4):
        await asyncio.sleep(0)
        turns.ask(*(f"o{number}" for number in range(2 * AT_ONCE)))
    assert set(crowd) <= {name for turn in turns.turns for name in turn}


async def test_a_connection_that_fails_keeps_no_other_from_sending(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns()

    def fail() -> None:
        raise ValueError("a fault")

    turns.ask("a")
    turns.sending.ask(fail)
    turns.ask("b")
    await asyncio.sleep(0)
    assert turns.turns == [["a", "b"]]
    assert "could not send" in caplog.text


async def test_who_asks_while_sending_sends_in_the_next_turn() -> None:
    turns = Turns()
    turns.sending.ask(lambda: turns.ask("again"))
    await asyncio.sleep(0)
    assert turns.count == 0
    await asyncio.sleep(0)
    assert turns.turns == [["again"]]
