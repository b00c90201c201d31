"""Callers that cost much CPU wait; others do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, time
from typing import Any, cast

import anyio
import httpx
import jwt
import msgspec
import pycrdt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from collab import Collab, Settings
from collab.access.price import Payer
from collab.rooms.blackbox import NoBlackBox
from collab.server.supervision import Supervision
from collab.wire import yjs
from tests.collab.serving import Runner, editor, serving

SECRET = "s" * 32
METRICS_SECRET = "m" * 32


def masked(message: bytes) -> bytes:
    """A frame from a client."""
    return bytes((0x82, 0x80 | len(message), 0, 0, 0, 0)) + message


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path), jwt_secret=SECRET, cpu_burst=0.5)


def token(user: str) -> str:
    claims = {"iss": "collab", "aud": "collab", "exp": time() + 600, "sub": user, "access": {"*/*": "write"}}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize("runner", ["hypercorn", "uvicorn"])
async def test_k4_a_caller_in_debt_is_read_later_and_nothing_of_it_is_lost(settings: Settings, runner: Runner) -> None:
    collab = Collab(settings)
    async with (
        serving(collab, runner) as address,
        editor(address, f"d?token={token('eve')}") as eve,
        editor(address, f"d?token={token('ada')}") as ada,
    ):
        payer = Payer("default", "user", "eve")
        collab.ledger.charge(payer, 0.5 + 0.25, monotonic())  # a second's worth too much
        for letter in "the quick brown fox":
            await eve.type(letter)
        await ada.type("ADA")
        await ada.until(lambda _: "fox" in str(ada.text))
        assert "".join(letter for letter in str(ada.text) if letter not in "AD") == "the quick brown fox"
        assert collab.ledger.wait(Payer("default", "user", "ada"), monotonic()) == 0


async def test_k4_a_request_of_a_caller_in_debt_is_refused_with_the_time_to_wait(settings: Settings) -> None:
    collab = Collab(msgspec.structs.replace(settings, metrics_secret=METRICS_SECRET))
    async with serving(collab) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http:
        collab.ledger.charge(Payer("default", "user", "eve"), 3.0, monotonic())

        async def get(user: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token(user)}"}
            return await http.get("/api/v1/collections/notes", headers=headers)

        refused = await get("eve")
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert 0 < refused.json()["error"]["details"]["retryAfter"] <= 10
        assert (await get("ada")).status_code == 200
        metrics = (await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_SECRET}"})).text
        assert 'collab_cpu_seconds_total{payer="user",project="default"}' in metrics


async def test_reading_a_large_document_is_charged_and_neighbours_do_not_wait(tmp_path: Path) -> None:
    # a share so small that nothing is paid back meanwhile, however slow the machine
    collab = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET, cpu_per_user=0.001, cpu_burst=0.5))
    async with serving(collab) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http:
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        doc.get("m", type=pycrdt.Map).update({f"k{n}": n for n in range(20_000)})
        await collab.room("docs/large").apply(doc.get_update())

        async def get(user: str) -> httpx.Response:
            return await http.get("/rooms/docs/large", headers={"Authorization": f"Bearer {token(user)}"})

        answers = [await get("eve")]
        while answers[-1].status_code == 200:
            answers.append(await get("eve"))
            assert len(answers) < 100
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await get("ada")).status_code == 200
        assert collab.ledger.used["default", "user"] > 0.5


async def test_what_is_done_for_a_session_elsewhere_is_charged_to_it(settings: Settings) -> None:
    collab = Collab(settings)
    async with serving(collab):
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        for n in range(2_000):
            doc.get("m", type=pycrdt.Map)[f"k{n}"] = n
        await collab.room("docs/large").apply(doc.get_update())
    collab = Collab(settings)
    async with serving(collab) as address, editor(address, f"docs/large?token={token('eve')}") as eve:
        await eve.until(lambda _: len(cast("pycrdt.Doc[Any]", eve.doc).get("m", type=pycrdt.Map)) == 2_000)
        assert collab.ledger.used["default", "user"] > 0


@pytest.mark.parametrize("share", [0.25, 0])
async def test_a_socket_of_a_busy_caller_rests_in_between_and_all_it_says_is_taken(
    tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.access.price._BUSY", 0.01)
    settings = Settings(data=str(tmp_path), jwt_secret=SECRET, messages_per_second=0, cpu_per_user=share, cpu_burst=60)
    collab = Collab(settings)
    async with serving(collab) as address, editor(address, f"d?token={token('eve')}") as eve:
        message = yjs.sync_step1(b"\0")
        all_of_it = collab.metrics.bytes_in + 20_000 * len(message)
        eve.socket.transport.write(b"".join(masked(message) for _ in range(20_000)))
        rested = busy = False
        with anyio.fail_after(60):
            while collab.metrics.bytes_in < all_of_it:
                # a socket rests after a message that kept the loop, too: where others take the cores, any message may
                rested |= any(connection._resting for connection in collab.sockets)
                busy |= any(connection.meter.is_busy() for connection in collab.sockets)
                await asyncio.sleep(0)
        assert (rested, busy) == (True, True) if share else not busy, "without a share to pay for nobody is busy"


async def test_k4_who_owes_more_than_it_can_pay_is_sent_away(settings: Settings) -> None:
    collab = Collab(settings)
    async with serving(collab) as address, editor(address, f"d?token={token('eve')}") as eve:
        collab.ledger.charge(Payer("default", "user", "eve"), 100.0, monotonic())
        for letter in "abc" * 100:
            await eve.type(letter)
        with anyio.fail_after(40):
            await eve.socket.wait_closed()
        assert eve.socket.close_code == 4529


async def test_whose_bytes_ended_workers_is_refused_everywhere_and_others_are_not(settings: Settings) -> None:
    supervision = Supervision(NoBlackBox(), banned=lambda who: who == "user eve of default")
    collab = Collab(settings, supervision=supervision)
    async with serving(collab) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http:
        for user, status in (("eve", 429), ("ada", 200)):
            headers = {"Authorization": f"Bearer {token(user)}"}
            assert (await http.get("/api/v1/collections/notes", headers=headers)).status_code == status
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/rooms/d?token={token('eve')}")
        assert refused.value.response.status_code == 429
        async with connect(f"ws://{address}/rooms/d?token={token('ada')}"):
            pass
