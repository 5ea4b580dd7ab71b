from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fsod.errors import UserError
from fsod.tracking import dashboard as dashboard_module
from fsod.tracking.dashboard import free_port, serve_dashboard
from fsod.tracking.tracker import open_run


def listen() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.listen()
    return server


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with listen() as server:
        port = server.getsockname()[1]
        assert port < free_port(port) < port + 50
    assert free_port(port) == port


def test_no_free_port_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no free port from 65536"):
        free_port(65536)


def test_runs_on_a_server_are_looked_at_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    with pytest.raises(UserError, match=r"open that address"):
        serve_dashboard(tmp_path / "mlflow.db", 5000)


def test_a_missing_mlflow_is_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_module, "find_spec", lambda name: None, raising=False)
    monkeypatch.setattr(dashboard_module, "_command", lambda *_: [sys.executable, "-c", "import no_such_mlflow"])
    with pytest.raises(UserError, match=r"needs the package mlflow, not installed: pip install 'fsod\[track\]'"):
        serve_dashboard(database, 5000)


def test_the_server_is_asked_directly_where_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_module, "_START_S", 2.0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    class Up(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    with (
        HTTPServer(("127.0.0.1", 0), Up) as server,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process,
    ):
        threading.Thread(target=server.handle_request, daemon=True).start()
        try:
            dashboard_module._wait_until_up(process, f"http://127.0.0.1:{server.server_port}")
        finally:
            process.kill()


def test_the_dashboard_shows_runs_and_takes_its_processes_with_it(database: Path, tmp_path: Path) -> None:
    with open_run(database=database, experiment="study", run_name="one", params={}, tags={}) as run:
        run.log_dict({"seen": True}, "a.json")
    with listen() as busy:
        port = busy.getsockname()[1]
        program = "import sys; from pathlib import Path; from fsod.tracking.dashboard import serve_dashboard; "
        program += "serve_dashboard(Path(sys.argv[1]), int(sys.argv[2]))"
        command = [sys.executable, "-c", program, str(database), str(port)]
        dashboard = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            assert dashboard.stdout is not None
            said = ""
            for line in dashboard.stdout:
                said += line
                if line.startswith("dashboard:"):
                    break
            address = re.search(r"^dashboard: (http://127\.0\.0\.1:(\d+))/#/experiments", said, re.MULTILINE)
            assert address, said
            assert f"port {port} is taken" in said
            with urllib.request.urlopen(f"{address[1]}/api/2.0/mlflow/runs/get?run_id={run.id}") as reply:
                assert json.load(reply)["run"]["info"]["run_name"] == "one"
            with urllib.request.urlopen(f"{address[1]}/get-artifact?path=a.json&run_uuid={run.id}") as reply:
                assert json.load(reply) == {"seen": True}
        finally:
            dashboard.send_signal(signal.SIGTERM)
            dashboard.communicate(timeout=20)
        assert dashboard.returncode == 0
        deadline = time.monotonic() + 10
        while free_port(int(address[2])) != int(address[2]):
            assert time.monotonic() < deadline, "a process of the server still listens"
            time.sleep(0.1)
