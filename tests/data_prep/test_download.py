"""Downloads from a small server on 127.0.0.1, in a process of its own, that behaves badly in every way we know."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from http.client import HTTPMessage
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from data_prep import download as download_module
from data_prep import fetch as fetch_module
from data_prep.download import DATA_SETS, DataSet, download
from data_prep.fetch import RemoteFile, fetch
from fsod.errors import UserError
from tests.command import fsod

SIZE = 300_001  # more than one chunk, and odd


@dataclass(frozen=True)
class Server:
    folder: Path
    log: Path
    port: int
    before: int = 0

    def remote(self, manner: str, name: str = "file.bin", max_bytes: int = 10**6) -> RemoteFile:
        md5 = hashlib.md5((self.folder / name).read_bytes()).hexdigest()
        return RemoteFile(name, f"http://127.0.0.1:{self.port}/{manner}/{name}", md5, max_bytes)

    def requests(self) -> list[str]:
        """Those of this test: manner, file, Range."""
        return self.log.read_text().splitlines()[self.before :]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("server")
    folder, log = place / "served", place / "log"
    folder.mkdir()
    (folder / "file.bin").write_bytes(np.random.default_rng(0).bytes(SIZE))
    (folder / "list.csv").write_text("split\n")
    for name, members in (
        ("images.zip", ["set/1.jpg", "set/2.jpg"]),
        ("labels.zip", ["set/1.txt"]),
        ("bad.zip", ["set/a", "../../escaped"]),
    ):
        with zipfile.ZipFile(folder / name, "w") as file:
            for member in members:
                file.writestr(member, member * 100)
    command = [sys.executable, str(Path(__file__).with_name("bad_server.py")), str(folder)]
    with log.open("w") as stdout, subprocess.Popen(command, stdout=stdout) as process:
        while not (text := log.read_text()).endswith("\n"):
            assert process.poll() is None
            time.sleep(0.01)
        yield Server(folder, log, int(text))
        process.kill()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(fetch_module, "PAUSE_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return replace(running, before=len(running.log.read_text().splitlines()))


def served(server: Server) -> bytes:
    return (server.folder / "file.bin").read_bytes()


@pytest.mark.parametrize(
    ("manner", "in_pieces", "requests"),
    [("plain", False, 1), ("norange", False, 1), ("moved", False, 2), ("busy", False, 3), ("break", True, 4)],
)
def test_a_file_arrives_whole(server: Server, tmp_path: Path, manner: str, in_pieces: bool, requests: int) -> None:
    part = tmp_path / "part"
    assert fetch(server.remote(manner), part) == in_pieces
    assert part.read_bytes() == served(server)
    assert len(server.requests()) == requests


def test_a_broken_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(served(server)[:1000])
    assert fetch(server.remote("plain"), part)
    assert part.read_bytes() == served(server)
    assert server.requests() == ["plain file.bin bytes=1000-"]


def test_a_server_that_cannot_go_on_starts_again(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"x" * 1000)
    fetch(server.remote("norange"), part)
    assert part.read_bytes() == served(server)


@pytest.mark.parametrize(
    ("manner", "max_bytes", "message", "requests"),
    [
        ("gone", 10**6, "HTTP 404 Not Found; fetch the file by hand and name it with --from-files", 1),
        ("huge", 10**6, "has 1000000000000 bytes, more than this data set can have", 1),
        ("plain", SIZE - 1, "has 300001 bytes, more than this data set can have", 1),
        ("endless", 10**6, "sends more than 1000000 bytes", 1),
        ("breaknorange", 10**6, "broke off at 100000 of 300001 bytes; run the same command again", 6),
    ],
)
def test_what_is_given_up(
    server: Server, tmp_path: Path, manner: str, max_bytes: int, message: str, requests: int
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fetch(server.remote(manner, max_bytes=max_bytes), tmp_path / "part")
    assert f"/{manner}/file.bin" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.requests()) == requests


def test_another_place_than_asked_for_is_not_joined_on(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(served(server)[:1000])
    with pytest.raises(UserError, match="asked to go on at byte 1000 and went on at 1001"):
        fetch(server.remote("shifted"), part)


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    remote = replace(server.remote("plain"), url="http://127.0.0.1:9/file.bin")
    with pytest.raises(UserError, match=r"cannot be reached .*by hand and name it with --from-files"):
        fetch(remote, tmp_path / "part")


def test_a_proxy_that_is_no_address_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http:/proxy.example:8080")
    with pytest.raises(UserError, match=r"cannot be reached \(proxy URL with no authority.*the proxy .* is no address"):
        fetch(server.remote("plain"), tmp_path / "part")


def test_https_never_leads_to_http_and_certificates_count() -> None:
    request = urllib.request.Request("https://mirror.example/a.zip")
    answer = (io.BytesIO(), 302, "", HTTPMessage(), "http://mirror.example/a.zip")
    with pytest.raises(UserError, match="redirects to an unencrypted address"):
        fetch_module._StaySecure().redirect_request(request, *answer)


def self_signed(path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2120, 1, 1))
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(pem, *form) + certificate.public_bytes(pem))
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    program = (
        "import ssl, sys, http.server as h\n"
        "s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[1])\n"
        "s.socket = c.wrap_socket(s.socket, server_side=True)\n"
        "print(s.server_port, flush=True); s.serve_forever()"
    )
    command = [sys.executable, "-c", program, str(self_signed(tmp_path / "pair.pem"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = f"https://127.0.0.1:{int(process.stdout.readline())}/pair.pem"
        with pytest.raises(UserError, match="its certificate is not valid"):
            fetch(RemoteFile("cert", url, None, 10**6), tmp_path / "part")
        process.kill()


@pytest.fixture
def data_set(server: Server) -> DataSet:
    """Two archives that share a folder, and a list without a checksum."""
    files = (server.remote("plain", "images.zip"), server.remote("plain", "labels.zip"))
    return DataSet("made", (*files, replace(server.remote("plain", "list.csv"), md5=None)), "set", "made by a test")


def test_a_data_set_is_fetched_unpacked_and_fetched_once(data_set: DataSet, server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = download(data_set, out)
    assert result["source"] == str(out / "files" / "set")
    found = {str(p.relative_to(out / "files")) for p in (out / "files").rglob("*") if p.is_file()}
    assert found == {"set/1.jpg", "set/2.jpg", "set/1.txt", "list.csv"}
    assert (out / "files" / "set" / "1.txt").read_text() == "set/1.txt" * 100
    assert json.loads((out / "download.json").read_text()) == result
    assert not list(out.rglob("*part*"))
    assert download(data_set, out) == result
    assert len(server.requests()) == 3


def test_a_folder_holds_one_data_set(data_set: DataSet, tmp_path: Path) -> None:
    download(data_set, tmp_path)
    with pytest.raises(UserError, match=r"holds made; give other a folder of its own"):
        download(replace(data_set, name="other"), tmp_path)


def test_archives_that_are_there_are_not_fetched_again(data_set: DataSet, server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "archives").mkdir(parents=True)
    (out / "archives" / "images.zip").write_bytes((server.folder / "images.zip").read_bytes())
    (out / "archives" / "labels.zip").write_bytes(b"damaged on the disk")
    download(data_set, out)
    assert [line.split()[1] for line in server.requests()] == ["labels.zip", "list.csv"]


def test_wrong_bytes_are_not_kept(data_set: DataSet, server: Server, tmp_path: Path) -> None:
    bad = replace(data_set, files=(server.remote("wrong", "images.zip"),))
    with pytest.raises(UserError, match=r"served other content than the published file \(MD5 .*, expected"):
        download(bad, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["archives"]
    assert len(server.requests()) == 1


@pytest.mark.parametrize("length", [10, 10**5])
def test_pieces_that_do_not_fit_are_fetched_afresh(
    data_set: DataSet, server: Server, tmp_path: Path, length: int
) -> None:
    archives = tmp_path / "out" / "archives"
    archives.mkdir(parents=True)
    (archives / ".images.zip.fsod-part").write_bytes(b"x" * length)
    download(replace(data_set, files=data_set.files[:1]), tmp_path / "out")
    assert [line.split()[2] for line in server.requests()] == [f"bytes={length}-", "-"]


def test_a_dangerous_archive_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out of the folder"):
        download(DataSet("made", (server.remote("plain", "bad.zip"),), "set", ""), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["archives", "bad.zip"]
    assert not (tmp_path / "escaped").exists()


def test_what_a_half_download_is_a_link_to_is_not_written_over(
    data_set: DataSet, server: Server, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.zip"
    mine.write_bytes(b"mine")
    archives = tmp_path / "out" / "archives"
    archives.mkdir(parents=True)
    (archives / ".images.zip.fsod-part").hardlink_to(mine)
    download(replace(data_set, files=data_set.files[:1]), tmp_path / "out")
    assert mine.read_bytes() == b"mine"


def test_files_fetched_by_hand(data_set: DataSet, server: Server, tmp_path: Path) -> None:
    given = [tmp_path / "first.download", tmp_path / "b.zip", tmp_path / "list.csv"]
    for path, remote in zip(given, data_set.files, strict=True):
        path.write_bytes((server.folder / remote.name).read_bytes())
    with pytest.raises(UserError, match=r"not among the files given: http://.*/labels.zip, http://.*/list.csv"):
        download(data_set, tmp_path / "some", given[:1])
    archives = tmp_path / "out" / "archives"
    archives.mkdir(parents=True)
    (archives / "images.zip").hardlink_to(given[0])  # of an earlier run that was killed
    download(data_set, tmp_path / "out", given)
    assert (tmp_path / "out" / "files" / "set" / "2.jpg").is_file()
    assert len(list(archives.iterdir())) == 3
    assert server.requests() == []
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match=r"a\.rar: is none of the published files of made .* unpack it yourself"):
        download(data_set, tmp_path / "other", [tmp_path / "a.rar"])
    with pytest.raises(UserError, match="no such file"):
        download(data_set, tmp_path / "other", [tmp_path / "gone"])
    with pytest.raises(UserError, match="a folder; give each archive"):
        download(data_set, tmp_path / "other", [tmp_path / "out"])


def test_the_command(data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "DATA_SETS", (data_set,))
    assert fsod("data", "download", "made", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "files" / "set").is_dir()


def test_what_is_published() -> None:
    assert [d.name for d in DATA_SETS] == ["nwpu", "dior"]
    for remote in (remote for data_set in DATA_SETS for remote in data_set.files):
        assert remote.url.startswith("https://hf.co/datasets/")
        assert remote.md5 is None or len(remote.md5) == 32


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", "[" * 100_000, "\udcff", '{"data_set": ' + "9" * 5000 + "}"]
)
def test_a_broken_record_is_named(data_set: DataSet, tmp_path: Path, content: str) -> None:
    download(data_set, tmp_path)
    (tmp_path / "download.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"download\.json: is not what fsod wrote; remove the folder"):
        download(data_set, tmp_path)


def test_files_of_somebody_else_are_left_alone(data_set: DataSet, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine").touch()
    with pytest.raises(UserError, match=r"files: exists without a download\.json"):
        download(data_set, tmp_path)
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["mine"]
