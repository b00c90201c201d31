"""Tokens that this server signs for its own users. Pure; time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from collab.access.configuration import Issuer, one_or_more
from collab.access.credentials import Authenticator
from collab.errors import AuthenticationFailed, InvalidRequest

_OURS = frozenset({"iss", "aud", "azp", "sub", "iat", "exp", "nbf", "jti", "access", "channels"})


def signer_of(issuers: Sequence[Issuer], name: str | None = None) -> Issuer:
    """Return the issuer that signs: the one with a secret, called ``name`` if given. Raises :class:`InvalidRequest`."""
    signers = [issuer for issuer in issuers if issuer.secret is not None and name in (None, issuer.issuer)]
    if not signers:
        raise InvalidRequest("no HS256 issuer is configured" + (" by that name" if name else "; set COLLAB_JWT_SECRET"))
    if len({signer.issuer for signer in signers}) > 1:
        raise InvalidRequest(f"choose the issuer that signs: {', '.join(signer.issuer for signer in signers)}")
    return signers[0]


def mint(
    signer: Issuer,
    user: str,
    *,
    access: Mapping[str, Any],
    seconds: float,
    now: float,
    token_id: str,
    name: str | None = None,
    project: str | None = None,
    channels: Sequence[str] = (),
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Sign a token for ``user`` that is valid for ``seconds``.

    Raises :class:`InvalidRequest` for a token that the server would refuse.
    """
    own = _OURS | {signer.name_claim, signer.project_claim}
    if taken := own & (claims or {}).keys():
        raise InvalidRequest(f"claims may not have {', '.join(sorted(taken))}: the server sets them")
    said: dict[str, Any] = {
        **(claims or {}),
        "iss": signer.issuer,
        "sub": user,
        "iat": int(now),
        "exp": int(now + seconds),
        "jti": token_id,
        "access": dict(access),
    }
    for claim, values in (("aud", signer.audience), ("azp", signer.authorized_party)):
        if values:
            said[claim] = one_or_more(values)[0]
    said |= {} if name is None else {signer.name_claim: name}
    said |= {} if project is None else {signer.project_claim: project}
    said |= {"channels": list(channels)} if channels else {}
    assert signer.secret is not None
    try:
        minted = jwt.encode(said, signer.secret, algorithm="HS256")
        Authenticator(issuers=[signer]).authenticate(minted, now)
    except AuthenticationFailed as error:
        why = error.message if error.message != "the token is not valid" else error.reason or error.message
        raise InvalidRequest(f"the server would refuse this token: {why}") from None
    except (TypeError, ValueError, jwt.PyJWTError) as error:
        raise InvalidRequest(f"this is not a token: {error}") from None
    return minted
