"""Webhooks on the command line, beside a server that sends to a receiver which refuses for a while."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from collab.consumers.webhook import signed
from tests.collab.server.command_line import run, serving
from tests.postgres import PostgresServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Answers 500 to the entities in ``refuses``."""

    def __init__(self) -> None:
        self.refuses = {"t1", "t2", "t3"}
        self.taken: list[tuple[str, int]] = []
        self.ids: dict[tuple[str, int], set[str]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                stamp, message = self.headers["webhook-timestamp"], self.headers["webhook-id"]
                assert (
                    signed(body, message, int(stamp), [SECRET])["webhook-signature"]
                    == self.headers["webhook-signature"]
                )
                event = json.loads(body)["data"]
                name = event["id"], event["version"]
                receiver.ids.setdefault(name, set()).add(message)
                refused = event["id"] in receiver.refuses
                if not refused:
                    receiver.taken.append(name)
                self.send_response(500 if refused else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://user:s3cret@127.0.0.1:{self.server.server_port}/hook?token=s3cret"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_dead_letters_are_listed_and_sent_again_while_the_server_runs(
    tmp_path: Path, postgres: PostgresServer, kind: str
) -> None:
    with postgres.records() as lend, receiving() as receiver:
        where = ["--data", str(tmp_path / "data")] if kind == "folder" else ["--database", lend()]
        hook = {"name": "crm", "url": receiver.url, "secret": SECRET, "attempts": 1}
        environ = {"COLLAB_WEBHOOKS": json.dumps([hook])}

        def listed() -> dict[str, object]:
            (line,) = run("webhooks", "list", "--json", *where, **environ).stdout.splitlines()
            found: dict[str, object] = json.loads(line)
            return found

        with serving(tmp_path, "serve", *where, **environ) as (_, lines):
            tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
            until(lambda: listed()["position"] is not None)
            for name in ("t1", "t2", "t3"):
                assert httpx.post(tasks, json={"id": name}, timeout=40).status_code == 201
            assert httpx.patch(f"{tasks}/t1", json={"changes": {"n": 1}}, timeout=40).status_code == 200
            until(lambda: listed()["deadLetters"] == 4)
            row = listed()
            assert (row["name"], row["project"], row["behind"]) == ("crm", "default", 0)
            assert row["url"] == f"http://127.0.0.1:{receiver.server.server_port}/hook"
            shown = run("webhooks", "list", *where, **environ).stdout
            assert "s3cret" not in shown
            assert SECRET not in shown
            assert shown.splitlines()[0].split() == ["NAME", "PROJECT", "URL", "POSITION", "BEHIND", "DEAD"]

            letters = [
                json.loads(line)
                for line in run("webhooks", "dead-letters", "crm", "--json", *where).stdout.splitlines()
            ]
            assert [(each["event"]["id"], each["event"]["version"]) for each in letters] == [
                ("t1", 1),
                ("t2", 1),
                ("t3", 1),
                ("t1", 2),
            ]
            assert {each["reason"] for each in letters} == {"HTTP status 500"}
            table = run("webhooks", "dead-letters", "crm", *where).stdout.splitlines()
            assert table[1].split()[3:] == ["tasks/t1", "1", "created", "HTTP", "status", "500"]

            receiver.refuses = {"t1"}
            some = run("webhooks", "replay", "crm", "--json", *where, **environ)
            assert some.exit_code == 3
            assert json.loads(some.stdout) == {"sent": 2, "failed": 1, "waiting": 1}
            assert f"Failed: {letters[0]['number']}, version 1 of tasks/t1: HTTP status 500" in some.stderr
            assert receiver.taken == [("t2", 1), ("t3", 1)]
            assert listed()["deadLetters"] == 2

            receiver.refuses = set()
            one = run("webhooks", "replay", "crm", "--number", str(letters[3]["number"]), *where, **environ)
            assert (one.exit_code, one.stdout) == (0, "crm took 1 events\n")
            assert run("webhooks", "replay", "crm", *where, **environ).stdout == "crm took 1 events\n"
            assert receiver.taken == [("t2", 1), ("t3", 1), ("t1", 2), ("t1", 1)]
            assert all(len(ids) == 1 for ids in receiver.ids.values()), "the same webhook-id each time"
            assert listed()["deadLetters"] == 0
            assert run("webhooks", "replay", "crm", "--json", *where, **environ).stdout == (
                '{"sent":0,"failed":0,"waiting":0}\n'
            )
            assert httpx.post(tasks, json={"id": "t4"}, timeout=40).status_code == 201, "the server writes on"
            until(lambda: ("t4", 1) in receiver.taken)


def test_what_cannot_be_sent_is_said_in_a_sentence(tmp_path: Path) -> None:
    with serving(tmp_path, "serve"):
        pass
    data = str(tmp_path / "data")
    hook = json.dumps([{"name": "billing", "url": "http://127.0.0.1:1/", "secret": SECRET}])
    unknown = run("webhooks", "replay", "biling", "--data", data, COLLAB_WEBHOOKS=hook)
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "Error: no webhook biling is configured; did you mean billing?\n",
    )
    missing = run("webhooks", "replay", "billing", "--number", "7", "--data", data, COLLAB_WEBHOOKS=hook)
    assert (missing.exit_code, missing.stderr) == (1, "Error: webhook billing has no dead letter 7\n")
    none = run("webhooks", "dead-letters", "crm", "--data", str(tmp_path / "none"))
    assert (none.exit_code, "there is no" in none.stderr) == (1, True)
    assert not (tmp_path / "none").exists()
    row = json.loads(run("webhooks", "list", "--json", "--data", data, COLLAB_WEBHOOKS=hook).stdout)
    assert (row["position"], row["behind"], row["deadLetters"]) == (None, None, 0)
