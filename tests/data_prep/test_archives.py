from __future__ import annotations

import io
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import archives
from data_prep.archives import unpack
from fsod.errors import UserError

MB = 10**6


def make_zip(path: Path, members: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_unpacks_files_and_folders(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"set/": b"", "set/a b.txt": b"one", "set/deep/c.jpg": b"two", "d": b""})
    (tmp_path / "out").mkdir()
    assert unpack(archive, tmp_path / "out", MB) == 3
    assert (tmp_path / "out" / "set" / "a b.txt").read_bytes() == b"one"
    assert (tmp_path / "out" / "set" / "deep" / "c.jpg").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../outside"), "leads out"),
        (member("set/../../outside"), "leads out"),
        (member("/outside"), "leads out"),
        (member("//outside"), "leads out"),
        (member("..\\outside"), "leads out"),
        (member("C:outside"), "leads out"),
        (member("."), "leads out"),
        (member("a\nb"), "leads out"),
        (member("x" * 256), "longer than a name"),
        (member("link", stat.S_IFLNK | 0o777), "link or a device"),
        (member("pipe", stat.S_IFIFO | 0o644), "link or a device"),
        (member("disk", stat.S_IFBLK | 0o644), "link or a device"),
    ],
    ids=lambda value: repr(value.filename) if isinstance(value, zipfile.ZipInfo) else "",
)
def test_a_member_that_leads_elsewhere_stops_it_all(tmp_path: Path, bad: zipfile.ZipInfo, why: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"good": b"x", bad: b"../../outside"})
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(UserError, match=why) as caught:
        unpack(archive, out, MB)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "deep", "out"]


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    archive = make_zip(tmp_path / "bomb.zip", {f"{i}": bytes(MB) for i in range(3)})
    assert archive.stat().st_size < 20_000
    with pytest.raises(UserError, match=r"unpacks to 3000000 bytes, more than the 2000000"):
        unpack(archive, out, 2 * MB)
    assert not any(out.iterdir())
    # the same with headers that lie: a thousand bytes each
    raw = archive.read_bytes()
    assert raw.count(MB.to_bytes(4, "little")) == 6
    archive.write_bytes(raw.replace(MB.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(UserError, match="not a zip archive that can be read"):
        unpack(archive, out, 2 * MB)
    assert sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) <= 2 * MB


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    (tmp_path / "out").mkdir()
    archive = make_zip(tmp_path / "a.zip", dict.fromkeys(("a", "b", "c"), b""))
    with pytest.raises(UserError, match="holds 3 files, more than 2"):
        unpack(archive, tmp_path / "out", MB)


def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 3

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())
    archive = make_zip(tmp_path / "a.zip", {"a": b"four"})
    with pytest.raises(UserError, match="unpacks to 4 bytes, but only 3 are free"):
        unpack(archive, tmp_path, MB)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_nothing_is_written_twice(tmp_path: Path, names: tuple[str, str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, name)
    with pytest.raises(UserError, match="twice"):
        unpack(archive, out, MB)


def test_encrypted_and_other_formats(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a": b"x"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(UserError, match="'a' is encrypted"):
        unpack(archive, tmp_path, MB)
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00 and so on")
    with pytest.raises(UserError, match="not a zip archive that can be read"):
        unpack(archive, tmp_path, MB)


def small_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("set/a.txt", b"text " * 40)
        file.writestr("set/b.txt", b"more")
    return content.getvalue()


SMALL = small_zip()


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6),
    length=st.integers(0, len(SMALL)),
)
def test_a_mangled_archive_is_a_user_error_or_stays_inside(changes: list[tuple[int, int]], length: int) -> None:
    raw = bytearray(SMALL)
    for place, value in changes:
        raw[place] = value
    with tempfile.TemporaryDirectory() as folder:
        archive, out = Path(folder) / "a.zip", Path(folder) / "out"
        archive.write_bytes(raw[:length] if length < len(SMALL) // 2 else raw)
        out.mkdir()
        said = str(archive)
        try:
            unpack(archive, out, MB)
        except UserError as error:
            said = str(error)
        assert str(archive) in said
        assert "\n" not in said
        assert {p.name for p in Path(folder).iterdir()} == {"a.zip", "out"}
