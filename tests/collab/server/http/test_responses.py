"""Errors of Collab in an application's own routes are answered as in ours, on WebSockets too."""

from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab import Collab, Identity, NotFound, Settings, exception_handlers
from collab.storage.base import StorageError
from tests.collab.serving import Runner, serving

SECRET = "a secret of the tests, of more than 32 bytes"


def application(collab: Collab) -> FastAPI:
    app = FastAPI(lifespan=collab.lifespan, exception_handlers=exception_handlers)

    async def me(caller: Annotated[Identity, Depends(collab.identity)]) -> str | None:
        return caller.user_id

    async def talk(socket: WebSocket, caller: Annotated[Identity, Depends(collab.identity)]) -> None:
        await socket.accept()
        await socket.send_text(str(caller.user_id))
        raise NotFound("there is nothing to talk about")

    app.add_api_route("/me", me)
    app.add_api_websocket_route("/talk", talk)
    app.mount("/collab", collab)
    return app


@pytest.mark.parametrize("runner", ["hypercorn", "uvicorn"])
async def test_a_websocket_route_knows_its_caller_and_is_closed_with_the_code_of_an_error(
    runner: Runner, tmp_path: Path
) -> None:
    collab = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET))
    async with serving(application(collab), runner) as address:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{address}/talk"):
                pass
        assert refused.value.response.status_code == 403
        token = collab.mint("ada", access={})
        async with connect(f"ws://{address}/talk?token={token}") as socket:
            assert await socket.recv() == "ada"
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4404, "there is nothing to talk about")
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
            assert (await http.get("/me")).status_code == 401
            assert (await http.get("/me", headers={"authorization": f"Bearer {token}"})).json() == "ada"


async def test_a_mounted_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data=str(tmp_path), jwt_secret=SECRET)
    async with Collab(settings).lifespan():
        with pytest.raises(StorageError) as error:
            async with Collab(settings).lifespan():
                pass
    assert [message for message in caplog.messages if message.startswith("could not start: another process")]
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    depth, trace = 0, error.tb
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next  # type: ignore[assignment]
    assert depth <= 5, "only the lifespans themselves"
