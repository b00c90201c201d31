"""Collaboration beside a Django project: one ASGI application, rooms under /collab, Django for the rest.

    uvicorn examples.mount_django:application

In a real project the settings are in your settings module and ``application`` is your ``asgi.py``.
"""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

from collab import Collab, Settings

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="example only", DEBUG=False)

collab = Collab(Settings.from_env(data="data/django"))


async def note(request: HttpRequest, note_id: str) -> HttpResponse:
    """A Django view that reads a document, even while it is being edited."""
    return HttpResponse(await collab.room(f"notes/{note_id}").text("content"), content_type="text/plain")


urlpatterns = [path("notes/<slug:note_id>", note)]

application = Starlette(
    routes=[Mount("/collab", collab), Mount("/", get_asgi_application())],
    lifespan=collab.lifespan,
)
