"""The container files hold together, as far as can be told without an engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from collab.server.config.load import CONFIG, unknown_variables
from collab.server.config.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def tool(name: str, *arguments: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} comes with the dependency group `check`"
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_dockerfile_has_no_faults_that_hadolint_knows() -> None:
    assert tool("hadolint", "docker/Dockerfile") == ""


def test_compose_reads_its_file_and_every_setting_in_it_exists() -> None:
    config = json.loads(tool("docker-compose", "-f", "docker/compose.yaml", "config", "--format", "json"))
    service = config["services"]["collab"]
    assert unknown_variables(Settings, service["environment"]) == []
    assert service["secrets"][0]["source"] == "jwt_secret"
    assert service["ports"][0]["host_ip"] == "127.0.0.1"


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
