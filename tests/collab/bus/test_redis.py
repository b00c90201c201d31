from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from collab.bus.base import Bus, Kept, MessageName, Repeated
from collab.bus.redis import RedisBus
from collab.errors import Unavailable
from collab.testing.bus_contract import TOPIC, BusContract, until
from tests.valkey import ValkeyProcess, serving

pytestmark = pytest.mark.slow


class TestRedisBus(BusContract):
    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with serving() as self.valkey:
            yield

    def bus(self) -> RedisBus:
        return RedisBus(self.valkey.url)

    async def kill(self) -> None:
        self.valkey.kill()

    async def start(self) -> None:
        self.valkey.start()

    async def freeze(self) -> None:
        self.valkey.freeze()

    async def thaw(self) -> None:
        self.valkey.thaw()

    async def forget(self) -> None:
        await self.execute("FLUSHALL")

    async def junk(self, topic: str, payload: bytes) -> None:
        for channel in await self.channels():
            await self.execute("PUBLISH", channel, payload)

    async def subscriptions(self) -> int:
        channels = await self.channels()
        if not channels:
            return 0
        numbers = await self.execute("PUBSUB", "NUMSUB", *channels)
        return sum(numbers[1::2])

    async def channels(self) -> list[bytes]:
        """Those of all nodes, without the ones on which nodes listen to themselves."""
        return [name for name in await self.execute("PUBSUB", "CHANNELS") if b"{echo}" not in name]

    async def execute(self, *command: Any) -> Any:
        async with Redis.from_url(self.valkey.url, protocol=2) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def test_a_restart_that_brings_back_older_numbers_is_another_epoch(self) -> None:
        async with self.opened(1) as (bus,):
            first = await bus.keep(TOPIC, b"1")
            await self.execute("CONFIG", "SET", "save", "3600 1")
            await self.execute("SAVE")
            lost = await bus.keep(TOPIC, b"2")
            assert isinstance(first, Kept)
            assert isinstance(lost, Kept)
            await self.kill()
            await until(lambda: bus.lost)
            await self.start()
            assert await self.execute("DBSIZE") == 2, "the older state was restored"
            await until(lambda: not bus.lost)
            new = await bus.keep(TOPIC, b"other 2")
            assert isinstance(new, Kept)
            assert new.epoch != first.epoch
            assert not (await bus.since(TOPIC, first.epoch, 2)).complete

    async def test_nothing_stays_in_redis_for_ever(self) -> None:
        async with self.opened(1) as (bus,):
            await bus.keep(TOPIC, b"1", MessageName("order 7", b"note"))
            keys = await self.execute("KEYS", "*")
            assert len(keys) == 3
            assert all(key.startswith(b"collab:{acme}:") for key in keys), "one slot of a Redis Cluster"
            lives = [await self.execute("TTL", key) for key in keys]
            assert all(3000 < seconds <= 86_400 for seconds in lives)

    async def test_a_history_that_redis_has_evicted_is_not_taken_for_complete(self) -> None:
        async with self.opened(1) as (bus,):
            kept = [await bus.keep(TOPIC, b"%d" % number) for number in range(3)]
            assert isinstance(kept[0], Kept)
            await self.execute("DEL", "collab:{acme}:events:messages")
            backlog = await bus.since(TOPIC, kept[0].epoch, 1)
            assert (backlog.newest, backlog.messages, backlog.complete) == (3, [], False)
            fourth = await bus.keep(TOPIC, b"x")
            assert (await bus.since(TOPIC, kept[0].epoch, 3)).messages == [fourth]

    async def test_a_connection_that_redis_ends_is_told_and_replaced(self) -> None:
        async with self.opened(1) as (bus,):
            told: list[bool] = []
            bus.watch(told.append)
            for kind in ("normal", "pubsub"):
                told.clear()
                await self.execute("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                await until(lambda: told == [True, False])

    async def test_what_waits_for_redis_has_a_bound(self) -> None:
        bus = RedisBus(self.valkey.url, most_unsent=100_000)
        await bus.open()
        await until(lambda: not bus.lost)
        await self.freeze()
        for _ in range(1000):
            bus.publish(TOPIC, b"x" * 1000)
        with pytest.raises(Unavailable):
            await bus.keep(TOPIC, b"x" * 1000)
        assert bus.counts.dropped == 900
        await self.thaw()
        await bus.close()

    async def test_a_process_that_slept_does_not_take_the_bus_for_lost(self) -> None:
        bus = RedisBus(self.valkey.url, echo_seconds=0.05)
        told: list[bool] = []
        bus.watch(told.append)
        await bus.open()
        await until(lambda: not bus.lost)
        for _ in range(3):
            time.sleep(0.3)  # noqa: ASYNC251 - as a large document does
            await asyncio.sleep(0.06)
        assert told == [False]
        await bus.close()

    async def test_an_outage_is_logged_once_and_so_is_its_end(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "collab.bus")
        async with self.opened(1) as (bus,):
            await self.kill()
            await until(lambda: bus.lost)
            await asyncio.sleep(1)
            await self.start()
            await until(lambda: not bus.lost)
        lines = [record.message for record in caplog.records]
        assert lines[-1] == "messages between servers arrive again"
        assert len(lines) == len(set(lines)) <= 4
        assert all(line.startswith("no messages between servers: ") for line in lines[:-1])


async def test_an_acl_user_needs_no_more_than_its_own_channels_and_keys() -> None:
    rights = "on >secret%20word resetkeys ~collab:* resetchannels &collab:* +@all -@dangerous -@admin"
    with serving(["--user", "default", "off", "--user", "collab", *rights.split()]) as server:
        bus = RedisBus(f"redis://collab:secret%2520word@127.0.0.1:{server.port}/3")
        assert isinstance((await exchanged(bus)), Kept)


async def test_a_password_and_a_unix_socket() -> None:
    with serving(["--requirepass", "secret"]) as server:
        assert isinstance(await exchanged(RedisBus(f"unix://:secret@{server.socket_path}?db=2")), Kept)


async def test_a_wrong_password_is_logged_and_the_bus_stays_lost(caplog: pytest.LogCaptureFixture) -> None:
    with serving(["--requirepass", "secret"]) as server:
        bus = RedisBus(f"redis://:wrong@127.0.0.1:{server.port}")
        await bus.open()
        await until(lambda: "WRONGPASS" in caplog.text or "invalid username-password" in caplog.text)
        assert bus.lost
        assert "secret" not in caplog.text
        await bus.close()


async def test_tls_with_a_certificate_authority_and_not_without(redis: ValkeyProcess, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    async with encrypted(redis.port, certified(certificate)) as port:
        bus = RedisBus(f"rediss://localhost:{port}?ssl_ca_certs={certificate}")
        assert isinstance(await exchanged(bus), Kept)
        distrustful = RedisBus(f"rediss://localhost:{port}")
        await distrustful.open()
        await asyncio.sleep(0.5)
        assert distrustful.lost
        await distrustful.close()


@pytest.mark.parametrize(
    "url", ["http://localhost", "redis://localhost?colour=red", "redis://localhost?socket_timeout=x"]
)
def test_a_url_that_redis_cannot_have_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|scheme"):
        RedisBus(url)


async def exchanged(bus: Bus) -> Kept | Repeated:
    """Open a bus, see that it hears itself, and close it. Returns a message that it kept."""
    await bus.open("exchange")
    try:
        await until(lambda: not bus.lost)
        heard: list[bytes] = []
        await bus.subscribe(TOPIC, heard.append)
        bus.publish(TOPIC, b"1")
        await until(lambda: heard == [b"1"])
        return await bus.keep(TOPIC, b"2")
    finally:
        await bus.close()


def certified(certificate: Path) -> ssl.SSLContext:
    """Write a certificate of our own for localhost; the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = certificate.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context


@asynccontextmanager
async def encrypted(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that takes TLS for the server behind another port."""
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        for one in (pass_on(reader, inner_writer), pass_on(inner_reader, writer)):
            tasks.add(asyncio.create_task(one))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
