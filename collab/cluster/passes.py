"""What a node shows to another: a pass that only holders of the cluster's key can issue. Pure, but for the clock.

A pass is a JSON web token, signed with HS256, for one receiver and for half a minute. It travels in the header
``Collab-Node``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any

import jwt

from collab.access.identity import Identity
from collab.cluster.identities import decode_identity, encode_identity
from collab.errors import PermissionDenied, TooLarge

HEADER = "collab-node"
"""The header of a request from another node, in lower case."""
LIFETIME = 30.0
"""Seconds for which a pass is valid."""
LONGEST_PASS = 12 * 1024
"""Characters. HTTP servers refuse headers of more than 16 KiB in total."""

_AUDIENCE = "collab-node"
_ALGORITHM = "HS256"
_NOT_OURS = "this is not a request of a node of this cluster"
_CLAIMS = frozenset({"aud", "exp", "from", "nid", "address", "identity"})


@dataclass(frozen=True, slots=True)
class Pass:
    """Which node asks, and for whom: ``address`` and ``identity`` are those of its client, if the node named them."""

    sender: int
    address: str | None = None
    identity: Identity | None = None


class NoPass(PermissionDenied):
    """No holder of the cluster's key has issued this: it is something else, like a client's own token."""


class Passes:
    """Issues passes in the name of the node ``nid``, and checks those that it is shown.

    ``key`` is the cluster's secret, at least 32 bytes. ``clock`` returns seconds since the epoch; the clocks of two
    nodes may differ by less than :data:`LIFETIME`.
    """

    def __init__(self, key: bytes, nid: int, clock: Callable[[], float] = time) -> None:
        if len(key) < 32:
            raise ValueError("the key of a cluster has at least 32 bytes")
        self._key = key
        self._nid = nid
        self._clock = clock

    def issue(self, to: int, *, address: str | None = None, identity: Identity | None = None) -> str:
        """Return a pass for the node ``to``. Raises :class:`TooLarge` if the identity does not fit into a header."""
        claims: dict[str, Any] = {
            "aud": _AUDIENCE,
            "exp": int(self._clock() + LIFETIME),
            "from": self._nid,
            "nid": to,
        }
        if address is not None:
            claims["address"] = address
        if identity is not None:
            claims["identity"] = b64encode(encode_identity(identity)).decode()
        text = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        if len(text) > LONGEST_PASS:
            raise TooLarge("this identity has too many rules for a request to another server", limit=LONGEST_PASS)
        return text

    def check(self, text: str) -> Pass:
        """Read a pass. Raises :class:`NoPass`, and :class:`PermissionDenied` for a pass that is not valid here and now.

        The reason tells nothing to who does not know the key.
        """
        try:
            if len(text) > LONGEST_PASS:
                raise NoPass(_NOT_OURS)
            found = jwt.decode_complete(
                text,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={
                    "require": ["aud", "exp", "from", "nid"],
                    "verify_exp": False,  # checked below, against our clock
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise NoPass(_NOT_OURS) from None
        claims = found["payload"]
        # `crit` and `b64` change what is signed; claims of a later version might limit what the pass allows
        if not found["header"].keys() <= {"alg", "typ"} or not claims.keys() <= _CLAIMS:
            raise PermissionDenied("this pass uses what this version of the server does not know")
        if not all(type(claims[name]) is int for name in ("nid", "from", "exp")):
            raise _refused()
        if claims["nid"] != self._nid:
            raise PermissionDenied("this pass is for another node; the address belongs to a new one by now")
        if claims["exp"] <= self._clock():
            raise PermissionDenied("this pass has expired: do the clocks of the nodes agree?")
        return Pass(claims["from"], _address(claims), _identity(claims))


def _refused() -> PermissionDenied:
    return PermissionDenied(_NOT_OURS)


def _address(claims: dict[str, Any]) -> str | None:
    address = claims.get("address")
    if address is not None and not isinstance(address, str):
        raise _refused()
    return address


def _identity(claims: dict[str, Any]) -> Identity | None:
    encoded = claims.get("identity")
    if encoded is None:
        return None
    try:
        return decode_identity(b64decode(encoded, validate=True))
    except (TypeError, ValueError):
        raise PermissionDenied("this pass names an identity that this version of the server cannot read") from None
