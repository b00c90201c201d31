"""What projects use is shown to the operator alone, with a bounded number of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collab import Collab, Settings
from collab.access.configuration import ApiKey
from collab.metrics import Metrics
from collab.project_names import OTHER_PROJECTS, ProjectNames
from collab.server.config.load import SettingsError
from collab.wire.realtime import messages as realtime
from tests.collab.server.sockets.test_realtime import Client, dialed
from tests.collab.serving import serving

SECRET = "what Prometheus shows to the servers of the tests"
KEYS = {name: f"lum_live_the-key-of-{name}-for-the-tests" for name in ("acme", "beta")}


def app(folder: Path, **settings: Any) -> Collab:
    keys = [ApiKey(key=key, project=name, rules={"*/*": "write"}) for name, key in KEYS.items()]
    return Collab(Settings(data=str(folder), keys=keys, **settings))


async def scraped(address: str, shown: str | None = None) -> tuple[int, dict[tuple[str, str], float], str]:
    headers = {} if shown is None else {"authorization": f"Bearer {shown}"}
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://{address}/metrics", headers=headers)
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(answer.text) if answer.status_code == 200 else ():
        for sample in family.samples:
            if "project" in sample.labels:
                place = sample.name, sample.labels["project"]
                found[place] = found.get(place, 0.0) + sample.value
    return answer.status_code, found, answer.text


async def greeted(client: Client, project: str) -> None:
    await client.say(realtime.Hello(api_key=KEYS[project]))
    await client.until(lambda: client.heard)


async def test_with_its_secret_each_project_is_shown_and_nobody_else_reads_metrics(tmp_path: Path) -> None:
    async with (
        serving(app(tmp_path, metrics_secret=SECRET)) as address,
        dialed(address) as acme,
        dialed(address) as beta,
    ):
        await greeted(acme, "acme")
        await greeted(beta, "beta")
        for number in range(3):
            await acme.result(realtime.Create, collection="tasks", data={}, entity=f"t{number}")
        await beta.result(realtime.Create, collection="tasks", data={}, entity="t1")
        status, found, _ = await scraped(address, SECRET)
        assert status == 200
        for project, writes in (("acme", 3), ("beta", 1)):
            assert found["collab_project_writes_total", project] == writes
            assert found["collab_project_sessions", project] == 1
            assert found["collab_project_received_bytes_total", project] > 0
            assert found["collab_project_sent_bytes_total", project] > 0
        for shown in (None, KEYS["acme"], SECRET[:-1], f"{SECRET}x"):
            status, _, text = await scraped(address, shown)
            assert status == 401
            assert "collab_" not in text


async def test_without_a_secret_metrics_name_no_project(tmp_path: Path) -> None:
    async with serving(app(tmp_path)) as address, dialed(address) as acme, dialed(address) as beta:
        for client, project in ((acme, "acme"), (beta, "beta")):
            await greeted(client, project)
            await client.result(realtime.Create, collection="tasks", data={}, entity="t1")
        status, found, text = await scraped(address)
    assert status == 200
    assert found["collab_project_writes_total", OTHER_PROJECTS] == 2
    assert found["collab_project_sessions", OTHER_PROJECTS] == 2
    assert {project for _, project in found} <= {OTHER_PROJECTS, ""}
    assert "acme" not in text
    assert "beta" not in text


async def test_projects_beyond_the_limit_share_a_sum(tmp_path: Path) -> None:
    made = app(tmp_path, metrics_secret=SECRET, metrics_projects=1)
    async with serving(made) as address, dialed(address) as acme, dialed(address) as beta:
        await greeted(acme, "acme")
        await acme.result(realtime.Create, collection="tasks", data={}, entity="t1")
        await greeted(beta, "beta")
        await beta.result(realtime.Create, collection="tasks", data={}, entity="t1")
        _, found, _ = await scraped(address, SECRET)
    assert {project for _, project in found} - {""} == {"acme", OTHER_PROJECTS}
    assert found["collab_project_writes_total", OTHER_PROJECTS] == 1


async def test_what_a_project_keeps_is_read_beside_the_server(tmp_path: Path) -> None:
    async with serving(app(tmp_path)) as address, dialed(address) as acme:
        await greeted(acme, "acme")
        await acme.result(realtime.Create, collection="tasks", data={"text": "x" * 5000}, entity="t1")
    async with serving(app(tmp_path, metrics_secret=SECRET)) as address:
        with anyio.fail_after(40):
            while (kept := (await scraped(address, SECRET))[1].get(("collab_project_stored_bytes", "acme"))) is None:
                await anyio.sleep(0.05)
    assert kept > 5000


def test_a_name_once_given_stays_and_a_refusal_counts_for_its_project() -> None:
    names = ProjectNames(2)
    assert [names.of(each) for each in ("a", None, "", "b", "c", "a")] == ["a", "", "", "b", OTHER_PROJECTS, "a"]
    metrics = Metrics(names)
    metrics.refusals.note("edit", "c/tasks/t1", None, "why", "c")
    metrics.refusals.note("connection", "/rooms/x", None, "why")
    assert {name: counts.refusals for name, counts in metrics.projects.items()} == {OTHER_PROJECTS: 1}


@pytest.mark.parametrize("other", ["api_key", "jwt_secret", "inspect_secret"])
def test_the_secret_is_long_and_no_other_credential(other: str) -> None:
    with pytest.raises(SettingsError, match="metrics_secret needs at least 32 bytes"):
        Settings.load(environ={}, values={"metrics_secret": "short"})
    with pytest.raises(SettingsError, match="must not be a credential of clients, or another secret"):
        Settings.load(environ={}, values={"metrics_secret": SECRET, other: SECRET})
