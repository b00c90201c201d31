"""Contract of revoked tokens. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from collab.access.revocations import Revocation
from collab.testing.storage_case import StorageCase

TOKEN = Revocation("acme", "token", "sha256:0f", 0.0, 200.0)
USER = Revocation("acme", "user", "ada é", 100.5, 300.0)


class AccessContract(StorageCase):
    """Revocations outlive the server, and end."""

    async def test_revocations_are_kept_until_their_end(self, tmp_path: Path) -> None:
        """Each adds to the earlier one of the same token or user of its project, and takes nothing from it."""
        other = replace(USER, project="other")
        async with self.opened(tmp_path) as storage:
            assert list(await storage.revocations(0.0)) == []
            for each in (TOKEN, USER, other):
                await storage.revoke(each, 1.0)
            later = replace(USER, issued_before=150.0, kept_until=400.0)
            await storage.revoke(later, 2.0)
            await storage.revoke(later, 2.0)
            await storage.revoke(replace(USER, issued_before=120.0, kept_until=10.0), 2.0)
            assert set(await storage.revocations(2.0)) == {TOKEN, later, other}
            assert set(await storage.revocations(200.0)) == {later, other}
            await storage.revoke(replace(TOKEN, name="another", kept_until=500.0), 350.0)
            assert {one.name for one in await storage.revocations(0.0)} == {"another", USER.name}
