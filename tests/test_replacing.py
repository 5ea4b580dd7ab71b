from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsod.errors import UserError
from fsod.replacing import Output, check_outputs, not_by


def output(path: Path, **more: object) -> Output:
    return Output(path, not_by("draw", lambda there: there.read_text() == "fsod's"), **more)  # type: ignore[arg-type]


def check(path: Path, *needed: Path, overwrite: bool = False) -> None:
    check_outputs([output(path)], lambda: needed, overwrite=overwrite)


def test_what_fsod_wrote_is_replaced_and_what_a_user_wrote_only_if_told(tmp_path: Path) -> None:
    check(tmp_path / "new")
    (tmp_path / "own").write_text("fsod's")
    check(tmp_path / "own")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(
        UserError, match="mine: already exists and was not written by `fsod draw`; choose another --out"
    ):
        check(tmp_path / "mine")
    check(tmp_path / "mine", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_read_is_never_replaced_under_whatever_name(tmp_path: Path, overwrite: bool) -> None:
    read, link = tmp_path / "own", tmp_path / "link"
    read.write_text("fsod's")
    link.symlink_to(read)
    os.link(read, tmp_path / "hard")
    for out in (read, link, tmp_path / "hard", tmp_path / "." / "own"):
        with pytest.raises(UserError, match="would be overwritten, but this command reads it"):
            check(out, read, overwrite=overwrite)
    with pytest.raises(UserError, match="would be overwritten, but this command reads it"):
        check(read, link, overwrite=overwrite)


def test_of_a_folder_that_is_read_only_own_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mine").write_text("mine")
    (tmp_path / "in" / "own").write_text("fsod's")
    check(tmp_path / "in" / "own", tmp_path / "in")
    with pytest.raises(UserError, match="lies in a folder that this command reads"):
        check(tmp_path / "in" / "mine", tmp_path / "in", overwrite=True)
    check_outputs([output(tmp_path / "in" / "mine", unread=True)], lambda: [tmp_path / "in"], overwrite=True)


def test_nothing_goes_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.tif").write_text("mine")
    for name in ("mine.tif/x", "mine.tif/new/x"):
        with pytest.raises(UserError, match=r"x: cannot be written, as .*mine\.tif is no folder; choose another --out"):
            check(tmp_path / name)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is a folder|is not a regular file|leads nowhere"):
        check(path, overwrite=True)


def test_two_outputs_of_one_name_are_refused_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    outputs = [output(tmp_path / "a" / "x", of="one"), output(tmp_path / "b" / "x", of="two")]
    with pytest.raises(UserError, match="would be written for both one and two"):
        check_outputs(outputs, list, overwrite=True)
