"""Doubtful settings are found, sound ones are not, and no secret is told."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab import Settings
from collab.access.configuration import ApiKey, Issuer
from collab.consumers.webhook import Webhook
from collab.server.doctor.settings_checks import check_settings
from collab.server.doctor.weak_secrets import weakness

GOOD = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
OTHER = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
WEBHOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOUND = {"jwt_secret": GOOD, "host": "0.0.0.0", "public_scheme": "https", "trusted_proxies": ["10.0.0.1"]}


def found(**settings: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.what) for finding in check_settings(Settings(**settings))]


def test_sound_settings_have_no_findings() -> None:
    assert found(**SOUND) == []
    assert found(**SOUND, inspect=True, inspect_secret=OTHER) == []


@pytest.mark.parametrize(
    ("settings", "level", "said"),
    [
        ({"open": True}, "wrong", "everybody who can connect may read and write everything"),
        ({"host": "0.0.0.0"}, "wrong", "no credentials are configured, but 0.0.0.0 can be reached"),
        ({}, "note", "everybody on this machine may read and write everything"),
        ({**SOUND, "allowed_origins": ["*"]}, "wrong", "allowed_origins is *"),
        ({**SOUND, "allowed_origins": ["http://app.example.com"]}, "note", "loaded without encryption"),
        ({**SOUND, "trusted_proxies": ["0.0.0.0/0"]}, "wrong", "0.0.0.0/0: whoever connects"),
        ({**SOUND, "trusted_proxies": ["::/0"]}, "wrong", "::/0: whoever connects"),
        ({**SOUND, "trusted_proxies": []}, "wrong", "trusted_proxies is empty"),
        ({**SOUND, "public_scheme": "unknown"}, "note", "public_scheme is unknown"),
        ({**SOUND, "jwt_secret": "a" * 32}, "wrong", "COLLAB_JWT_SECRET can be guessed: it consists of few"),
        ({**SOUND, "jwt_secret": "abcdefgh" * 4}, "wrong", "COLLAB_JWT_SECRET can be guessed: it repeats itself"),
        ({**SOUND, "jwt_secret": "this is our secret, do not tell it"}, "wrong", "a word that everybody tries"),
        ({**SOUND, "api_key": "0123456789abcdef"}, "wrong", "COLLAB_API_KEY can be guessed: it counts"),
        ({**SOUND, "api_key": "changeme-now-please"}, "wrong", "COLLAB_API_KEY can be guessed"),
        ({**SOUND, "api_key": GOOD}, "wrong", "COLLAB_JWT_SECRET and COLLAB_API_KEY are the same"),
        (
            {"jwt_secret": GOOD, "host": "0.0.0.0", "inspect": True},
            "wrong",
            "inspector can be reached at 0.0.0.0 without",
        ),
        ({**SOUND, "inspect_secret": "a" * 32}, "wrong", "COLLAB_INSPECT_SECRET can be guessed"),
        ({**SOUND, "cpu_per_user": 0}, "note", "no limit: cpu_per_user"),
        ({**SOUND, "database": "postgresql://u:pw@db.internal/c"}, "note", "may be unencrypted (sslmode=prefer)"),
        (
            {**SOUND, "keys": [ApiKey(key=OTHER, rules={"*/*": "write"})]},
            "note",
            "API key 1 may write everything in project default",
        ),
        (
            {
                **SOUND,
                "issuers": [
                    Issuer(issuer="i", audience="a", algorithm="HS256", secret=OTHER, rules={"*/*": "write"}),
                ],
            },
            "note",
            "a token of i without the claim `access` may write everything",
        ),
        (
            {**SOUND, "webhooks": [Webhook(name="w", url="http://example.com/", secret=WEBHOOK)]},
            "wrong",
            "the webhook w is sent over http",
        ),
        (
            {
                **SOUND,
                "webhooks": [
                    Webhook(name="w", url="https://example.com/", secret=WEBHOOK, previous_secret=WEBHOOK),
                ],
            },
            "note",
            "still signs with its previous secret",
        ),
        (
            {**SOUND, "webhooks": [Webhook(name="w", url="https://example.com/", secret="whsec_" + "A" * 32)]},
            "wrong",
            "the secret of the webhook w can be guessed",
        ),
    ],
)
def test_a_doubtful_setting_is_found(settings: dict[str, Any], level: str, said: str) -> None:
    findings = check_settings(Settings(**settings))
    assert [finding.level for finding in findings if said in finding.what] == [level]
    told = "".join(f"{finding.what} {finding.advice}" for finding in findings)
    for name in ("jwt_secret", "api_key"):
        assert settings.get(name, "-none-") not in told
    assert ":pw@" not in told


@given(st.binary(min_size=24, max_size=48))
def test_a_random_secret_is_not_called_weak(content: bytes) -> None:
    if len(set(content)) > 18:
        assert weakness(content.hex()) is None
        assert weakness(b64encode(content).decode()) is None
