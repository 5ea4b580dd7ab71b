"""The dashboard: MLflow's own server on this machine, with what a laptop does not need switched off."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from fsod.errors import UserError
from fsod.tracking.tracking_store import ARTIFACTS, create_store, shown, tracking_uri

_HOST = "127.0.0.1"
_PAGE = "#/experiments?workflowType=machine_learning"  # else the pages are about language models
_PORTS_TRIED = 50
_START_S = 120.0


def serve_dashboard(database: Path, port: int) -> None:
    """Serves the runs until Ctrl-C.

    Args:
        database: the SQLite file of the runs, made if missing.
        port: on 127.0.0.1; where it is taken, the next free one.

    Raises:
        UserError: runs are kept on a server, MLflow is not installed, no port is free, or MLflow does not start.
    """
    uri = tracking_uri(database)
    if uri.startswith(("http://", "https://")):
        raise UserError(f"runs are kept at {shown(uri)} (MLFLOW_TRACKING_URI): open that address")
    if find_spec("mlflow") is None:  # its server is a process of its own, which could only say that it is not there
        raise UserError("the dashboard needs the package mlflow, not installed: pip install 'fsod[track]'")
    create_store(database)
    free = free_port(port)
    if free != port:
        print(f"port {port} is taken, {free} is free", flush=True)
    address = f"http://{_HOST}:{free}"
    print(f"starting MLflow for {shown(uri)} ...", flush=True)
    # a session of its own, so that all its processes can be told to stop at once
    server = subprocess.Popen(
        _command(uri, database, free),
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"},
        start_new_session=True,
    )
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        _wait_until_up(server, address)
        print(f"dashboard: {address}/{_PAGE}   (Ctrl-C stops it)", flush=True)
        status = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        _stop(server)
    raise UserError(f"MLflow's server stopped by itself with status {status}")


def free_port(port: int) -> int:
    """The first port from ``port`` on that nobody listens on.

    Raises:
        UserError: none of the next fifty is free.
    """
    for candidate in range(port, min(port + _PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            # as servers do: a port whose last server has just ended is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, candidate))
            except OSError:
                continue
            return candidate
    raise UserError(f"no free port from {port} on; name another one (PORT= with make)")


def _command(uri: str, database: Path, port: int) -> list[str]:
    options = {
        "--backend-store-uri": uri,
        "--artifacts-destination": str(database.absolute().parent / ARTIFACTS),
        "--host": _HOST,
        "--port": str(port),
        "--workers": "1",
        "--uvicorn-opts": "--log-level warning",
    }
    return [sys.executable, "-m", "mlflow", "server", *(text for pair in options.items() for text in pair)]


def _wait_until_up(server: subprocess.Popen[bytes], address: str) -> None:
    # past http_proxy: a proxy does not lead back to this machine
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"MLflow's server did not start (status {server.returncode}); see its output above")
        try:
            here.open(f"{address}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"MLflow's server did not answer at {address} within {_START_S:.0f} s")


def _stop(server: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(server.pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has ended, and all its processes with it
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
