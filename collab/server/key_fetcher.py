"""Fetches the keys that issuers publish, before a token needs them, without blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

import anyio
import httpx

from collab.access.configuration import KeySource
from collab.access.credentials import Authenticator
from collab.access.key_sets import KEPT_SECONDS, KeySet, Need, read_discovery, read_key_set
from collab.errors import RateLimitExceeded, Unavailable
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
"""Time limit of one fetch, discovery included."""
MOST_BYTES = 256 * 1024
"""Size limit of one answer."""
MOST_WAITING = 1000
"""Tokens of one issuer that may wait for its keys."""


class KeyFetcher:
    """Keeps the :attr:`Authenticator.key_sets` of a server up to date.

    Each source is fetched once at a time, and at most once in ``PAUSE_SECONDS``, for all tokens together.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        failed: Callable[[BaseException], object],
        *,
        seconds: float = FETCH_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._authenticator = authenticator
        self._seconds = seconds
        self._clock = clock
        self._tasks = BackgroundTasks(failed)
        self._fetching: dict[KeySource, asyncio.Task[None]] = {}
        self._waiting: dict[KeySource, int] = {}
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    def start(self) -> None:
        """Begin to fetch everything, so that the first tokens need not wait, and mistakes are logged early."""
        for keys in self._authenticator.key_sets.values():
            self._fetch(keys)

    async def stop(self) -> None:
        """End all fetches."""
        self._tasks.cancel()
        await self._tasks.wait()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def prepare(self, token: str | None) -> None:
        """Wait until the keys that may have signed ``token`` are known, if they have to be fetched.

        Raises :class:`Unavailable` if the issuer does not answer and nothing can be said about the token.
        """
        sets, kid = self._authenticator.key_sets_of(token)
        needs = {keys: keys.need(kid, self._clock()) for keys in sets}
        known = [keys for keys, need in needs.items() if need is not Need.NOW]
        for keys in known:
            if needs[keys] is Need.SOON and not keys.pause(self._clock()):
                self._fetch(keys)
        if known and kid is not None:
            return  # one of them has the key
        for keys in sets:
            if keys not in known:
                await self._wait(keys, kid)

    async def _wait(self, keys: KeySet, kid: object) -> None:
        """Return after the next fetch, or the one that is under way. Raises :class:`Unavailable` if it failed."""
        source = keys.source
        if self._waiting.get(source, 0) >= MOST_WAITING:
            raise RateLimitExceeded("too many tokens wait for the keys of their issuer", retryAfter=1.0)
        self._waiting[source] = self._waiting.get(source, 0) + 1
        try:
            if source not in self._fetching and keys.down and keys.pause(self._clock()):
                raise _unavailable(keys.pause(self._clock()))
            tries = keys.tries
            if source not in self._fetching:
                await asyncio.sleep(keys.pause(self._clock()))
            if keys.tries == tries:  # else another token has caused a fetch meanwhile
                await asyncio.shield(self._fetch(keys))
        finally:
            self._waiting[source] -= 1
        if keys.down and keys.need(kid, self._clock()) is Need.NOW:
            raise _unavailable(keys.pause(self._clock()))

    def _fetch(self, keys: KeySet) -> asyncio.Task[None]:
        """Return the fetch that is under way, or begin one."""
        task = self._fetching.get(keys.source)
        if task is None:
            task = self._fetching[keys.source] = self._tasks.spawn(self._refresh(keys))
            task.add_done_callback(lambda _: self._fetching.pop(keys.source, None))
        return task

    async def _refresh(self, keys: KeySet) -> None:
        was_down, known = keys.down, len(keys)
        issuer = keys.source.discovers or keys.source.url
        try:
            with anyio.fail_after(self._seconds):
                client = await self._opened()
                url = keys.source.url
                if keys.source.discovers is not None:
                    url = read_discovery(await _get(client, url), keys.source)
                found = read_key_set(await _get(client, url))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError) as error:
            keys.failed(self._clock())
            if not was_down:
                left = "its tokens are refused" if keys.expired(self._clock()) else f"its {known} keys stay in use"
                log.error(
                    "could not fetch the keys of %s: %s; %s (for at most %g hours after they were fetched)",
                    issuer,
                    _reason(error, self._seconds),
                    left,
                    KEPT_SECONDS / 3600,
                )
            return
        keys.fetched(found, self._clock())
        if was_down or not known:
            log.info("fetched %d keys of %s", len(found), issuer)

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                context = await asyncio.to_thread(httpx.create_ssl_context)  # it reads hundreds of certificates
                self._client = httpx.AsyncClient(
                    verify=context, headers={"user-agent": "collab", "accept": "application/json"}
                )
            return self._client


async def _get(client: httpx.AsyncClient, url: str) -> bytes:
    """Get a document. Redirects are not followed, because they could lead anywhere. Raises :class:`ValueError`."""
    async with client.stream("GET", url) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answers with status {answer.status_code}")
        chunks, size = [], 0
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
            if size > MOST_BYTES:
                raise ValueError(f"{url} answers with more than {MOST_BYTES} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} seconds"
    return str(error) or type(error).__name__


def _unavailable(seconds: float) -> Unavailable:
    return Unavailable("the issuer of this token does not answer", retryAfter=round(max(seconds, 1.0), 3))
