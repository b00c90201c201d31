"""Secrets that can be guessed. Pure; what it returns contains none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from collab.server.config.settings import Settings

_WORDS = (
    *("secret", "password", "passwd", "changeme", "change-me", "change_me", "example", "default", "admin", "letmein"),
    *("test", "demo", "qwerty", "123456", "abcdef", "lorem", "foobar", "your-", "your_", "placeholder"),
)
_RANDOM = re.compile(r"[0-9a-fA-F]{32,}|[A-Za-z0-9+/=_-]{40,}")
_FEWEST_CHARACTERS = 6


def weakness(secret: str) -> str | None:
    """Why a secret can be guessed, ``None`` if nothing speaks for it."""
    if len(set(secret)) < _FEWEST_CHARACTERS:
        return "it consists of few different characters"
    for size in range(1, len(secret) // 2 + 1):
        if secret == (secret[:size] * (len(secret) // size + 1))[: len(secret)]:
            return "it repeats itself"
    steps = [ord(right) - ord(left) for left, right in pairwise(secret)]
    if sum(step in (0, 1, -1) for step in steps) > len(steps) * 0.6:
        return "it counts up or down"
    lowered = secret.lower()
    for word in _WORDS:
        # by chance such a word is in a random text, too: then most of it is something else
        if word in lowered and (len(word) * 3 > len(secret) or not _RANDOM.fullmatch(secret)):
            return "it contains a word that everybody tries"
    return None


def configured_secrets(settings: Settings) -> Mapping[str, str]:
    """The secrets of the settings, by the name of their place."""
    return dict(_secrets(settings))


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.jwt_secret is not None:
        yield "COLLAB_JWT_SECRET", settings.jwt_secret
    if settings.inspect_secret is not None:
        yield "COLLAB_INSPECT_SECRET", settings.inspect_secret
    if settings.api_key is not None:
        yield "COLLAB_API_KEY", settings.api_key
    for number, key in enumerate(settings.keys, 1):
        if key.key is not None:
            yield f"API key {number} (project {key.project})", key.key
    for issuer in settings.issuers:
        if issuer.secret is not None:
            yield f"the secret of the issuer {issuer.issuer}", issuer.secret
    for webhook in settings.webhooks:
        yield f"the secret of the webhook {webhook.name}", webhook.secret.removeprefix("whsec_")


def shared(secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Places that have the same secret."""
    places: dict[str, str] = {}
    found = []
    for place, secret in secrets.items():
        if secret in places:
            found.append((places[secret], place))
        places.setdefault(secret, place)
    return found
