from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsod.errors import UserError
from fsod.files import atomic_write, decoded, held, lock_beside, sha256_of, write_text


def test_a_text_comes_back_in_a_folder_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "text.md"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_older_file_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        _stop_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _stop_half_way(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_two_who_write_one_file_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    with atomic_write(path) as first:
        first.write_text("first")
        with atomic_write(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first", "the later one to end wins"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from fsod.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of something longer")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_of_the_users_is_overwritten_on_the_way(tmp_path: Path) -> None:
    path, own, target = tmp_path / "text.md", tmp_path / "text.md.part", tmp_path / "target"
    own.write_text("the user's")
    target.write_text("what a link leads to")
    (tmp_path / ".text.md.part").write_text("the user's")
    (tmp_path / ".text.md.fsod-part").symlink_to(target)
    os.mkfifo(tmp_path / ".text.md.1.fsod-part")
    write_text(path, "new")
    assert (tmp_path / ".text.md.part").read_text() == "the user's"
    assert (path.read_text(), own.read_text(), target.read_text()) == ("new", "the user's", "what a link leads to")


def test_a_file_gets_the_rights_that_files_get(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "whole", "x" * 3)
    write_text(tmp_path / ("ä" * 120), "a name as long as it can be")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_says_what_a_text_is_in(encoding: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    assert decoded((mark + "größer\n").encode(encoding)) == "größer\n"


def test_the_hash_is_that_of_all_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"fsod" * 100_000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_where_nothing_can_be_written_the_result_is_named_and_not_the_lock(tmp_path: Path) -> None:
    (tmp_path / "scene.tif").touch()
    out = tmp_path / "scene.tif" / "bank.safetensors"
    with (
        pytest.raises(UserError, match=r"^.*bank\.safetensors: cannot be written \(.+\)$"),
        held(lock_beside(out), out),
    ):
        pass


def test_what_a_killed_run_had_started_is_waited_for(tmp_path: Path) -> None:
    """Such as the processes that read its data: they hold its lock until they see that it has ended."""
    lock, out = tmp_path / ".lock", tmp_path / "out"
    code = f"""
import os, time
from pathlib import Path
from fsod.files import held
with held(Path({str(lock)!r}), Path({str(out)!r})):
    if not os.fork():
        time.sleep(2)
        os._exit(0)
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with held(lock, out):
        pass
    mine = rf"another run is writing it \(process {os.getpid()} on "
    with held(lock, out), pytest.raises(UserError, match=mine), held(lock, out):
        pass
