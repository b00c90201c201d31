"""The dashboard and the alerts ask for what servers really show, and say what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import click
import httpx
import msgspec
import promql_parser as promql
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from collab.server.cli import main
from collab.server.config.settings import Settings
from tests.docker.promql import SCRAPED, labels_of, parsed, selectors
from tests.docker.topology import DOCKER, ROOT
from tests.e2e.server import Server
from tests.postgres import PostgresServer
from tests.test_docs import headings
from tests.valkey import ValkeyProcess

SECRET = "a secret of the tests, of more than 32 bytes"
SCRAPER = "what Prometheus shows to the servers of the tests"
WEBHOOK = {"name": "crm", "url": "http://127.0.0.1:9/x", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
OF_PROMETHEUS = {"up": frozenset[str]()}
"""Series that Prometheus itself makes."""

Series = dict[str, frozenset[str]]


class Annotations(msgspec.Struct, forbid_unknown_fields=True):
    summary: str
    description: str
    runbook: str


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """An alerting rule, with the members that Prometheus knows (``for`` is a keyword of Python)."""

    alert: str
    expr: str
    during: str = msgspec.field(name="for")
    labels: dict[Literal["severity"], Literal["critical", "warning"]]
    annotations: Annotations


class Group(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rules: list[Rule]


class RuleFile(msgspec.Struct, forbid_unknown_fields=True):
    groups: list[Group]


DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in msgspec.convert(yaml.safe_load((DOCKER / "alerts.yaml").read_text()), RuleFile).groups
    for rule in group.rules
]


def shown(server: Server) -> Series:
    """Its series, with their labels, after clients did what makes each kind of label appear."""
    with httpx.Client(base_url=server.http, timeout=40) as http:
        mine = {"authorization": f"Bearer {server.token('ada')}"}
        assert http.post("/api/v1/collections/tasks", json={"id": "t1"}, headers=mine).status_code == 201
        server.stop()
        server.start()  # it reads the sizes of projects when it begins
        assert http.get("/api/v1/collections/tasks", headers=mine).status_code == 200  # costs CPU
        assert http.post("/api/v1/collections/tasks", json={}, headers=mine).status_code == 201
        with pytest.raises(InvalidStatus, match="401"):
            connect(f"ws://{server.host}:{server.port}/rooms/notes/n?token=forged")
        deadline = time.monotonic() + 60
        scraper = {"authorization": f"Bearer {SCRAPER}"}
        while "collab_project_stored_bytes{" not in (text := http.get("/metrics", headers=scraper).text):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | sample.labels.keys()
    return found


@pytest.fixture(scope="module")
def of_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    webhooks = json.dumps([WEBHOOK])
    server = Server(tmp_path_factory.mktemp("server"), secret=SECRET, webhooks=webhooks, metrics_secret=SCRAPER)
    server.start()
    try:
        yield shown(server)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def of_a_node(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, redis: ValkeyProcess
) -> Iterator[Series]:
    folder, webhooks = tmp_path_factory.mktemp("node"), json.dumps([WEBHOOK])
    with postgres.records() as lend:
        server = Server(
            folder, secret=SECRET, webhooks=webhooks, database=lend(), redis=redis.url, metrics_secret=SCRAPER
        )
        server.start()
        try:
            yield shown(server)
        finally:
            server.stop()


def rows() -> dict[str, list[dict[str, Any]]]:
    """The panels of each row. Those above all rows have none."""
    found: dict[str, list[dict[str, Any]]] = {}
    title = ""
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            title = panel["title"]
        else:
            found.setdefault(title, []).append(panel)
    return found


def queries(panels: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Expressions and their legends."""
    return [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]


def test_the_dashboard_has_a_row_for_each_subject() -> None:
    assert list(rows()) == [
        "",
        "Clients",
        "Edits and commits",
        "Errors and refusals",
        "CPU by project",
        "Projects",
        "Storage",
        "Webhooks",
        "Cluster",
    ]


def test_each_panel_says_what_it_shows_and_in_which_unit() -> None:
    for panel in PANELS:
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]
    titles = [(row, panel["title"]) for row, panels in rows().items() for panel in panels]
    assert len(set(titles)) == len(titles)


def test_no_two_panels_have_one_id_or_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        place = panel["gridPos"]
        assert min(place["x"], place["y"]) >= 0
        assert min(place["w"], place["h"]) >= 1
        assert place["x"] + place["w"] <= 24, panel["title"]
    for a, b in combinations(everything, 2):
        one, other = a["gridPos"], b["gridPos"]
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart, (a["title"], b["title"])


def test_the_dashboard_works_with_any_data_source_and_asks_only_for_the_chosen_servers() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for variable in ("job", "instance"):
        assert variables[variable]["datasource"] == chosen
    for panel in PANELS:
        assert panel["datasource"] == chosen, panel["title"]
        assert all(target["datasource"] == chosen for target in panel["targets"]), panel["title"]
    known = {*variables, "__rate_interval", "__range"}  # those of Grafana
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all"} == known
    for expression, _ in queries(PANELS):
        for selector in selectors(parsed(expression)):
            matched = {str(one) for one in selector.matchers.matchers}
            assert {'job=~"$job"', 'instance=~"$instance"'} <= matched, expression


def test_each_series_of_the_dashboard_is_shown_by_a_server_with_the_labels_of_its_legend(of_a_server: Series) -> None:
    for row, panels in rows().items():
        if row != "Cluster":
            check_queries(panels, of_a_server)


def test_each_series_of_the_dashboard_is_shown_by_a_node(of_a_node: Series) -> None:
    check_queries(PANELS, of_a_node)


def check_queries(panels: list[dict[str, Any]], series: Series) -> None:
    for expression, legend in queries(panels):
        assert set(re.findall(r"{{(\w+)}}", legend)) <= labels_of(parsed(expression), series), expression


def test_the_variables_and_annotations_of_the_dashboard_ask_for_series_that_are_shown(of_a_server: Series) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
            assert label in labels_of(parsed(series), of_a_server)
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            assert labels_of(parsed(annotation["expr"]), of_a_server) == SCRAPED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_an_alert_asks_for_series_that_are_shown_and_names_labels_that_it_has(
    rule: Rule, of_a_server: Series, of_a_node: Series
) -> None:
    of_clusters = rule.alert in {"CollabNodeLost", "CollabBusLost"}
    for series in (of_a_node,) if of_clusters else (of_a_server, of_a_node):
        labels = labels_of(parsed(rule.expr), {**series, **OF_PROMETHEUS})
        told = rule.annotations.summary + rule.annotations.description
        assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_an_alert_compares_waits_and_says_where_to_read_on(rule: Rule) -> None:
    assert re.fullmatch(r"Collab[A-Z]\w+", rule.alert)
    assert re.search(r" (==|>|<) ", rule.expr), "without a comparison it would always be firing"
    promql.parse_duration(rule.during)
    assert not rule.annotations.summary.endswith(".")
    assert rule.annotations.description.endswith(".")
    page, _, anchor = rule.annotations.runbook.partition("#")
    assert anchor in headings(ROOT / page)
    for template in re.findall(r"{{(.*?)}}", rule.annotations.summary + rule.annotations.description):
        assert re.fullmatch(r" (\$labels\.\w+|\$value( \| humanize(1024|Duration|Percentage)?)?) ", template), template


def test_what_alerts_tell_to_do_exists() -> None:
    told = " ".join(rule.annotations.description for rule in RULES)
    for command in re.findall(r"`collab ([a-z -]+)`", told):
        found: click.Command | None = main
        for word in command.split():
            assert isinstance(found, click.Group), command
            found = found.get_command(click.Context(found), word)
        assert found is not None, command
    for setting in re.findall(r"\b(?:max|cpu)_[a-z_]+|`(?:workers)`", told):
        assert setting.strip("`") in Settings.__struct_fields__, setting


def test_no_two_alerts_have_one_name() -> None:
    assert len({rule.alert for rule in RULES}) == len(RULES)


def test_a_worker_that_dies_is_counted_by_the_one_that_replaces_it(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        assert metric(server, "collab_worker_deaths_total") == 0
        assert server.process is not None
        (worker,) = psutil.Process(server.process.pid).children()
        worker.kill()
        worker.wait()
        assert metric(server, "collab_worker_deaths_total") == 1
    finally:
        server.stop()


def metric(server: Server, name: str) -> float:
    """A value without labels; connections wait for a worker."""
    text = httpx.get(f"{server.http}/metrics", timeout=40).text
    return float(re.findall(rf"^{name} (.+)$", text, re.MULTILINE)[0])
