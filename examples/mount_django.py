"""Collaboration inside a Django project: its users, its sessions, one ASGI application.

    uvicorn examples.mount_django:application

In a real project, the settings are in your settings module, the hooks in an app, and ``application`` in ``asgi.py``.
Log in at /login (ada, analytical); then pages of the site connect to /collab without any token.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import django
from django.conf import settings

DATA = Path("data/django").absolute()

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="example only",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "collab.django"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "db.sqlite3"}},
    USE_TZ=True,
    COLLAB={"data": DATA, "rules": {"notes/*": "write"}, "hooks": f"{__name__}.TeamHooks"},
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402 - Django's modules want the settings first
from django.contrib import auth  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from collab import Identity  # noqa: E402
from collab.django import SessionHooks, get_collab, with_collab  # noqa: E402


class TeamHooks(SessionHooks):
    """Users may do what ``COLLAB["rules"]`` says; staff may do everything."""

    async def identify(self, user: Any) -> Identity | None:
        """Give a Django user their rights."""
        identity = await super().identify(user)
        if identity is None or not user.is_staff:
            return identity
        return replace(identity, rules=SessionHooks({"*/*": "write"}).rules_of(user))


async def note(request: HttpRequest, note_id: str) -> HttpResponse:
    """An async view reads a document, even while it is being edited."""
    return HttpResponse(await get_collab().room(f"notes/{note_id}").text("content"), content_type="text/plain")


def people(request: HttpRequest, note_id: str) -> HttpResponse:
    """A sync view works, too."""
    present = async_to_sync(get_collab().present)(f"notes/{note_id}")
    return JsonResponse({"people": [person.name for person in present.people]})


def login(request: HttpRequest) -> HttpResponse:
    """Log in, as anywhere in Django."""
    user = auth.authenticate(request, username=request.POST.get("user"), password=request.POST.get("password"))
    if user is None:
        return HttpResponse("wrong user or password", status=401)
    auth.login(request, user)
    return HttpResponse("welcome")


def logout(request: HttpRequest) -> HttpResponse:
    """Log out: what the user has open in /collab ends."""
    auth.logout(request)
    return HttpResponse("goodbye")


urlpatterns = [
    path("notes/<slug:note_id>", note),
    path("notes/<slug:note_id>/people", login_required(people, login_url="/login")),
    path("login", csrf_exempt(login)),  # the example has no form
    path("logout", csrf_exempt(logout)),
]


def prepare() -> None:
    """Create the tables and a user, as `manage.py migrate` and `createsuperuser` would."""
    DATA.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    users = auth.get_user_model().objects
    if not users.filter(username="ada").exists():
        users.create_user("ada", password="analytical", first_name="Ada", last_name="Lovelace")


with ThreadPoolExecutor(1) as thread:  # ASGI servers import this module while their event loop runs
    thread.submit(prepare).result()
application = with_collab(get_asgi_application())
