"""The documents of a Hocuspocus socket that other nodes own: its messages about them are passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from collab.errors import Restarting, Unavailable
from collab.realtime.listeners import ignore
from collab.server.admission import Admitted
from collab.server.sockets.connection import Connection
from collab.server.sockets.documents import DocumentGatekeeper, DocumentPassing, DocumentTunnel
from collab.wire import hocuspocus
from collab.wire.hocuspocus import split_address

_MOST_WITHDRAWN = 100
_MOST_OVER = 1000


@dataclass(slots=True)
class _Passed:
    nid: int
    tunnel: DocumentTunnel
    admitted: Admitted
    token: str  # the client's last one


class PassedDocuments:
    """By address. Without ``passing`` there are none. ``renew`` has :meth:`renew` called soon.

    ``ended`` is called with the address of a document that its owner has ended or refused, and with the number of times
    that this counts as an end.
    """

    __slots__ = ("_connection", "_documents", "_ended", "_gatekeeper", "_over", "_passing", "_renew", "_withdrawn")

    def __init__(
        self,
        connection: Connection,
        gatekeeper: DocumentGatekeeper,
        passing: DocumentPassing | None,
        renew: Callable[[str], object],
        ended: Callable[[str, int], object],
    ) -> None:
        self._renew = renew
        self._ended = ended
        self._connection = connection
        self._gatekeeper = gatekeeper
        self._passing = passing
        self._documents: dict[str, _Passed] = {}
        self._withdrawn: dict[str, str] = {}  # documents closed by a provider, with their tokens
        self._over: dict[str, None] = {}  # documents that their owners have ended
        if passing is not None:
            passing.listen(self.heard)

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, address: str) -> bool:
        return address in self._documents

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._documents))

    @property
    def possible(self) -> bool:
        """Whether there are other nodes."""
        return self._passing is not None

    def take(self, data: bytes) -> bool:
        """Pass a message on if another node has its document. Returns whether it did."""
        address = hocuspocus.address_of(data)
        document = self._documents.get(address)
        if document is None:
            return False
        assert self._passing is not None
        kind = hocuspocus.read_head(data)[1]
        if kind == hocuspocus.AUTH and self._passing.by_identity:
            self._renew(address)  # its token is the session's, and tells the owner nothing
            return True
        if kind == hocuspocus.CLOSE:
            self.withdraw(address)
            return True
        if kind == hocuspocus.AUTH:
            message = hocuspocus.decode(data)[1]
            if isinstance(message, hocuspocus.Token):
                document.token = message.token
        document.tunnel.send(data)
        return True

    def heard(self, data: bytes) -> None:
        """Notice, before the client gets a message of an owner, that it ends a document.

        From then on the client has no place there, and its next token is checked here first.
        """
        name = data[0]
        kind = data[name + 1] if name < 0x80 and len(data) > name + 1 else hocuspocus.read_head(data)[1]
        if kind not in (hocuspocus.CLOSE, hocuspocus.AUTH):
            return
        address = hocuspocus.address_of(data)
        if kind == hocuspocus.CLOSE or data.startswith(hocuspocus.permission_denied(address, "")[:-1]):
            if address in self._documents:
                self._forget(address)
                self._over[address] = None
                if len(self._over) > _MOST_OVER:
                    del self._over[next(iter(self._over))]
                self._ended(address, int(kind == hocuspocus.CLOSE))
        elif address in self._over and address not in self._documents:
            # the owner has opened it again for a token that had left before we knew of the end
            self._connection.close(Restarting("another server has this document"))

    def withdraw(self, address: str) -> None:
        """A provider has closed a document: perhaps one of several, see :meth:`returned`."""
        document = self._documents.get(address)
        if document is not None:
            self._withdrawn[address] = document.token
            if len(self._withdrawn) > _MOST_WITHDRAWN:
                del self._withdrawn[next(iter(self._withdrawn))]
            self.close(address)

    def returned(self, address: str) -> str | None:
        """The token of a document that was withdrawn, once: somebody still sends messages about it."""
        return self._withdrawn.pop(address, None)

    async def hand_over(
        self,
        nid: int,
        address: str,
        admitted: Admitted,
        token: str,
        frames: Sequence[bytes],
        is_wanted: Callable[[], bool],
    ) -> bool:
        """Have a document served by another node, beginning with its ``token`` and ``frames``.

        Returns ``False`` if its owner must be found again. Raises :class:`CollabError` if the client may not have it.
        """
        if self._passing is None:  # the socket is that of another node, which knows the last owner
            self._connection.close(Restarting("another server has this document"))
            return True
        try:
            tunnel = await self._passing.to(nid)
        except Unavailable:
            self._passing.forget(admitted.key)
            return False
        shown = self._passing.token(nid, admitted.identity, token)
        if is_wanted():
            self._gatekeeper.enter(admitted)
            self._documents[address] = _Passed(nid, tunnel, admitted, token)
            self._over.pop(address, None)
            tunnel.send(hocuspocus.token(address, shown))
            for frame in frames:
                if not (self._passing.by_identity and hocuspocus.read_head(frame)[1] == hocuspocus.AUTH):
                    tunnel.send(frame)
        return True

    async def renew(self, address: str) -> None:
        """Tell the owner which identity its client has now. Raises :class:`CollabError` if it has lost its rights."""
        document = self._documents[address]
        assert self._passing is not None
        admitted = await self._gatekeeper.admit(split_address(address)[0], "")
        shown = self._passing.token(document.nid, admitted.identity, "")
        if shown and self._documents.get(address) is document:
            document.tunnel.send(hocuspocus.token(address, shown))

    def close(self, address: str) -> None:
        """The client has closed a document, or may not have it any more."""
        if address in self._documents:
            self._documents[address].tunnel.send(hocuspocus.close(address, ""))
            self._forget(address)

    def left(self) -> None:
        """The client has left."""
        for address in self:
            self._forget(address)
        if self._passing is not None:
            self._passing.close()
        self._renew = self._ended = ignore

    def _forget(self, address: str) -> None:
        self._gatekeeper.leave(self._documents.pop(address).admitted)
