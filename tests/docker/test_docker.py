"""The files for containers hold together, as far as can be told without an engine and without a cluster."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from collab.server.config.load import CONFIG, unknown_variables
from collab.server.config.settings import Settings
from tests.docker.topology import DOCKER, ROOT, composed, program, tool

LIMITS = ("memory", "pids")
KUBERNETES = ("1.30", "1.37")
"""Versions whose schemas the example meets: the oldest and the newest that we look at."""


@pytest.mark.parametrize("name", ["Dockerfile", "balancer.Dockerfile"])
def test_a_dockerfile_has_no_faults_that_hadolint_knows(name: str) -> None:
    assert tool("hadolint", f"docker/{name}") == ""


@pytest.mark.parametrize("file", ["compose.yaml", "compose.single.yaml"])
def test_each_setting_in_a_compose_file_exists_and_each_container_is_confined(file: str) -> None:
    config = composed(file)
    assert config["services"]
    for name, service in config["services"].items():
        settings = {key: value for key, value in service.get("environment", {}).items() if key.startswith("COLLAB_")}
        if name.startswith("collab"):
            assert settings
            assert unknown_variables(Settings, settings) == []
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert set(LIMITS) <= service["deploy"]["resources"]["limits"].keys(), name
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name
        for secret in service.get("secrets", ()):
            assert secret["source"] in config["secrets"]


def test_nobody_in_a_container_is_root() -> None:
    services = composed("compose.yaml")["services"]
    built = {name for name, service in services.items() if "build" in service}
    assert built == {"collab-1", "collab-2", "balancer"}
    for name in built:
        build = services[name]["build"]
        dockerfile = Path(build["context"]) / build["dockerfile"]
        users = re.findall(r"^USER (\S+)", dockerfile.read_text(), re.MULTILINE)
        assert users, name
        assert users[-1] not in {"root", "0"}, name
    for name in services.keys() - built:
        assert services[name]["user"] not in {"root", "0"}, name


def test_only_the_balancer_can_be_reached_from_outside_and_it_knows_all_nodes() -> None:
    config = composed("compose.yaml")
    services = config["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["balancer"]
    nodes = [name for name in services if name.startswith("collab")]
    assert services["balancer"]["environment"]["COLLAB_NODES"].split() == [f"{name}:8000" for name in nodes]
    assert config["networks"]["back"]["internal"] is True
    for name in ("postgres", "valkey"):
        assert services[name]["networks"].keys() == {"back"}
    (subnet,) = [one["subnet"] for one in config["networks"]["front"]["ipam"]["config"]]
    for name in nodes:
        assert services[name]["environment"]["COLLAB_TRUSTED_PROXIES"] == subnet
        assert services[name]["networks"].keys() == {"front", "back"}


def test_the_balancer_reads_its_caddyfile_as_caddy_formats_it() -> None:
    environment = {"COLLAB_NODES": "127.0.0.1:1 127.0.0.1:2", "PATH": ""}
    for command in (["validate", "--adapter", "caddyfile", "--config"], ["fmt", "--diff"]):
        done = subprocess.run(
            [program("caddy"), *command, str(DOCKER / "Caddyfile")],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_secrets_that_are_made_are_those_that_the_services_need(tmp_path: Path) -> None:
    made = tmp_path / "secrets"
    script = str(DOCKER / "make-secrets.sh")
    subprocess.run(["sh", script, str(made)], check=True, stdout=subprocess.DEVNULL)
    before = {file.name: file.read_text() for file in made.iterdir()}
    config = composed("compose.yaml")
    for secret in config["secrets"].values():
        assert Path(secret["file"]).parent == DOCKER / "secrets"
        assert Path(secret["file"]).name in before
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in made.iterdir()} == {0o444}
    settings = Settings.from_env(
        {f"COLLAB_{name.upper()}_FILE": str(made / name) for name in ("database", "redis", "jwt_secret")}
    )
    assert settings.database is not None
    assert settings.redis is not None
    database, redis = urlsplit(settings.database), urlsplit(settings.redis)
    postgres = config["services"]["postgres"]["environment"]
    assert (database.hostname, database.path) == ("postgres", f"/{postgres['POSTGRES_DB']}")
    assert (database.username, database.password) == (postgres["POSTGRES_USER"], before["postgres_password"])
    assert redis.hostname == "valkey"
    assert f"requirepass {redis.password}\n" in before["valkey_config"]
    subprocess.run(["sh", script, str(made)], check=True)
    assert {file.name: file.read_text() for file in made.iterdir()} == before, "what exists stays"


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text()))


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_kubernetes_example_meets_the_schema(version: str) -> None:
    tool("kubernetes-validate", "--strict", "--kubernetes-version", version, "docker/kubernetes.yaml")


def test_the_schema_would_refuse_a_field_that_does_not_exist(tmp_path: Path) -> None:
    misspelt = tmp_path / "misspelt.yaml"
    misspelt.write_text((DOCKER / "kubernetes.yaml").read_text().replace("preStop:", "prestop:"))
    done = subprocess.run([program("kubernetes-validate"), "--strict", str(misspelt)], capture_output=True)
    assert done.returncode != 0


def test_the_parts_of_the_kubernetes_example_belong_together() -> None:
    found = {manifest["kind"]: manifest for manifest in manifests()}
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert pod["spec"]["enableServiceLinks"] is False
    assert pod["spec"]["terminationGracePeriodSeconds"] >= 5 + 10 + 5
    (container,) = pod["spec"]["containers"]
    variables = {one["name"]: one.get("value", "") for one in container["env"] if one["name"].startswith("COLLAB_")}
    assert unknown_variables(Settings, variables) == []
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    for name, value in variables.items():
        if name.endswith("_FILE"):
            assert value.rpartition("/")[0] in mounted
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    address = variables["COLLAB_NODE_URL"].replace("$(POD_IP)", "10.1.2.3")
    assert Settings.from_env({}, database="postgresql://h/d", redis="redis://h", node_url=address).node_port == 8000


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    kept = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept, f"{source} is ignored"


def test_the_image_sets_what_the_server_reads() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    variables = dict.fromkeys(re.findall(r"(COLLAB_\w+)=", dockerfile), "")
    assert {"COLLAB_HOST", "COLLAB_DATA"} <= variables.keys()
    assert unknown_variables(Settings, variables | {CONFIG: ""}) == []
