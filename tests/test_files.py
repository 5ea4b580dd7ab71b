from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fsod.files import sha256_of, whole, write_text


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
    with whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_the_hash_is_that_of_all_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"fsod" * 100_000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
