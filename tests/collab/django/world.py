"""A Django project for tests: that of the example, with other settings of ours, and its users."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from asgiref.sync import sync_to_async

from collab import Collab
from tests.collab.serving import serving


class Project(NamedTuple):
    """A Django project that is served. ``http`` is a browser with its cookies."""

    collab: Collab
    address: str
    http: httpx.AsyncClient

    async def login(self, user: str = "ada") -> dict[str, str]:
        """Log in; returns the headers of another program with the same cookie."""
        answer = await self.http.post("/login", data={"user": user, "password": "analytical"})
        assert answer.text == "welcome"
        return {"cookie": f"sessionid={self.http.cookies['sessionid']}"}

    async def status(self, headers: dict[str, str] | None = None, path: str = "schema") -> int:
        """The status of a request to the API."""
        async with httpx.AsyncClient(timeout=40) as http:
            answer = await http.get(f"http://{self.address}/collab/api/v1/{path}", headers=headers or {})
            return answer.status_code


@asynccontextmanager
async def project(folder: Path, **said: Any) -> AsyncIterator[Project]:
    """The example's project, with its data in ``folder`` and these members of ``COLLAB``."""
    importlib.import_module("examples.mount_django")
    from django.core.asgi import get_asgi_application
    from django.test import override_settings

    from collab.django import get_collab, with_collab

    members = {"data": folder / "collab", "rules": {"notes/*": "write"}, "hooks": "collab.django.SessionHooks"} | said
    with override_settings(COLLAB=members):
        app = with_collab(get_asgi_application())
        collab = get_collab()
        async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
            yield Project(collab, address, http)


async def change(user: str, **fields: Any) -> None:
    """Change fields of a user, or the password; creates the user if there is none."""
    from django.contrib.auth import get_user_model

    def work() -> None:
        found, created = get_user_model().objects.get_or_create(username=user)
        if "password" in fields or created:
            found.set_password(fields.pop("password", "analytical"))
        for name, value in fields.items():
            setattr(found, name, value)
        found.save()

    await sync_to_async(work)()
