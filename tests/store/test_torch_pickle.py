from __future__ import annotations

import importlib
import io
import os
import pickle
import pickletools
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch

from fsod.errors import UserError
from fsod.store.official import import_official
from fsod.store.torch_pickle import IGNORED_CALLS, Archive, Inert, StoredTensor
from tests.forked import Forked


class Call:
    """Pickles as a call of ``function``, which may itself be the result of a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Only so that pickle takes it for a function."""


def write_archive(path: Path, program: bytes, compression: int = ZIP_STORED) -> Path:
    with ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", program)
    return path


def touch(marker: Path) -> Call:
    return Call(os.system, f"touch {marker}")


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "os.system": (touch, r"call (posix|nt)\.system,"),
    "eval": (lambda marker: Call(eval, f"open({str(marker)!r}, 'w').close()"), r"call __builtin__\.eval,"),
    "getattr": (lambda marker: Call(Call(getattr, Path, "touch"), marker), r"call __builtin__\.getattr,"),
    "import": (
        lambda marker: Call(Call(getattr, Call(importlib.import_module, "os"), "system"), f"touch {marker}"),
        r"call importlib\.import_module,",
    ),
    "nested pickle": (lambda marker: Call(pickle.loads, pickle.dumps(touch(marker))), r"call _?pickle\.loads,"),
    "nested torch file": (
        lambda marker: Call(torch.storage._load_from_bytes, legacy_bytes(touch(marker))),
        r"call torch\.storage\._load_from_bytes,",
    ),
}


def legacy_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_pickle_that_runs_something_is_refused_by_name_and_does_not_run(attack: str, tmp_path: Path) -> None:
    evil, named = ATTACKS[attack]
    marker, path = tmp_path / "marker", tmp_path / "evil.pt"
    torch.save({"model": evil(marker), "ema": None}, path)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the attack is no attack"
    marker.unlink()

    with pytest.raises(UserError, match=named) as refusal:
        import_official(path, tmp_path / "out.safetensors")
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch {}'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch {}'\no.",  # OBJ
        b"\x80\x04\x8c\x09posixpath\x8c\x09os.system\x93\x8cL{}\x85R.",  # a dotted name, protocol 4
        b"cos\nsystem\n)\x81S'touch {}'\nb0cos\nsystem\n(S'touch {}'\ntR.",  # NEWOBJ and BUILD before the call
    ],
)
def test_a_call_in_other_opcodes_is_refused_too(program: bytes, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    command = f"touch {marker}".encode()
    program = program.replace(b"\x8cL{}", b"\x8c" + struct.pack("B", len(command)) + command)
    program = program.replace(b"{}", str(marker).encode())
    pickletools.dis(program, out=(tmp_path / "listing").open("w"))  # it is a well-formed pickle
    with pytest.raises(UserError, match=r"call (os|posixpath\.os)\.system,"):
        Archive(write_archive(tmp_path / "evil.pt", program)).load()
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.FloatStorage"),
        *("collections.OrderedDict", "builtins.set"),
        *sorted(IGNORED_CALLS),
    ],
)
def test_what_is_known_cannot_be_changed_by_a_file(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    for key in ("__code__", "__defaults__", "__new__", "__call__", "__setstate__"):
        state = b"N}" + b"S'" + key.encode() + b"'\nNs\x86b."  # BUILD with (None, {key: None}): sets the attribute
        program = b"c" + module.encode() + b"\n" + attribute.encode() + b"\n" + state
        with pytest.raises(UserError, match="not a readable pickle"):
            Archive(write_archive(tmp_path / "evil.pt", program)).load()


def test_objects_of_unknown_classes_hold_their_state_and_do_nothing(tmp_path: Path) -> None:
    program = b"csubprocess\nPopen\n(S'touch marker'\nt\x81}S'_modules'\nK\x07sb."  # NEWOBJ with arguments, BUILD
    held = Archive(write_archive(tmp_path / "held.pt", program)).load()
    assert isinstance(held, Inert)
    assert held.attribute("_modules") == 7
    assert held.attribute("args") is None


def test_tensors_come_back_with_offsets_and_strides(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float16).reshape(4, 6)
    content = {"view": base.T[2:, 1:], "whole": base, "flags": torch.tensor([True, False]), "scalar": torch.tensor(3)}
    torch.save(content, tmp_path / "tensors.pt")
    archive = Archive(tmp_path / "tensors.pt")
    loaded = archive.load()
    assert isinstance(loaded, dict)
    for name, value in content.items():
        assert loaded[name].shape == tuple(value.shape)
        assert torch.equal(archive.tensor(loaded[name]), value), name


def test_numbers_outside_of_the_storage_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.pt")
    archive = Archive(tmp_path / "a.pt")
    honest = StoredTensor("0", torch.float32, 0, (4,), (1,))
    assert archive.tensor(honest).tolist() == [0, 0, 0, 0]
    lies: list[dict[str, Any]] = [
        {"offset": 1},
        {"offset": -1},
        {"shape": (5,)},
        {"strides": (2,)},
        {"strides": (-1,)},
        {"key": "../0"},
    ]
    for lie in lies:
        with pytest.raises(UserError, match="is damaged"):
            archive.tensor(honest._replace(**lie))


def test_other_and_damaged_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    with pytest.raises(UserError, match="no such file"):
        Archive(path)
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"from before PyTorch 1\.6 are not read"):
        Archive(path)
    with ZipFile(path, "w") as file:
        file.writestr("notes.txt", "nothing")
    with pytest.raises(UserError, match=r"no data\.pkl"):
        Archive(path)
    with pytest.raises(UserError, match="compressed"):
        Archive(write_archive(path, b"N.", ZIP_DEFLATED))
    with pytest.raises(UserError, match="not a readable pickle"):
        Archive(write_archive(path, pickle.dumps({"a": [1, 2, 3]})[:-4])).load()
    with pytest.raises(UserError, match="no weights found"):
        import_official(write_archive(path, pickle.dumps({"epoch": 3})), tmp_path / "out.safetensors")


def load_in_a_process(path: Path) -> str:
    """What loading says, in a process that may end itself or take memory."""

    def load() -> tuple[str, int]:
        said, before = "", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            Archive(path).load()
        except UserError as error:
            said = str(error)
        return said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    said, more_kb = Forked(load).answer()
    assert more_kb < 200_000, "a file of a kilobyte took more than 200 MB"
    return str(said)


DEEP = b"N" + b"\x85" * 200_000  # tuples of one in tuples of one; hashing 150,000 ends a process
DOUBLED = b"N" + b"2\x86" * 60  # each holds the one before twice: its hash takes 2 ** 60 steps
HOSTILE = {
    "deep key": b"\x80\x02}" + DEEP + b"Ns.",
    "deep keys": b"\x80\x02}(" + DEEP + b"Nu.",
    "deep key of a dict": b"\x80\x02(" + DEEP + b"Nd.",
    "deep element": b"\x80\x04\x8f(" + DEEP + b"\x90.",
    "deep element of a frozen set": b"\x80\x04(" + DEEP + b"\x91.",
    "deep element of a called set": b"\x80\x02cbuiltins\nset\n(](" + DEEP + b"etR.",
    "deep key of a called dict": b"\x80\x02ccollections\nOrderedDict\n(](" + DEEP + b"N\x86etR.",
    "doubled key": b"\x80\x02}" + DOUBLED + b"Ns.",
    "array of bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "digits": b"\x80\x02I" + b"9" * 5000 + b"\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_would_end_the_process_or_never_end_is_refused(tmp_path: Path, name: str) -> None:
    said = load_in_a_process(write_archive(tmp_path / "x.pt", HOSTILE[name]))
    assert f"{tmp_path}/x.pt: not a readable pickle: " in said


def test_a_place_in_the_memory_of_a_pickle_takes_no_room(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.pt", b"\x80\x02]r" + struct.pack("<I", 1 << 27) + b".")
    load_in_a_process(path)
    assert Archive(path).load() == []


def test_keys_that_honest_files_have_are_read(tmp_path: Path) -> None:
    content = {"a": {1: 2, (3, "b"): {4, "c"}}, None: frozenset([(1, 2)]), 0.5: {"x": 1}}
    for protocol in (2, 4, 5):
        path = write_archive(tmp_path / "x.pt", pickle.dumps({**content, None: 1}, protocol))
        assert Archive(path).load() == {**content, None: 1}


def read_all(path: Path) -> object:
    archive = Archive(path)
    content = archive.load()
    assert isinstance(content, dict)
    return archive.tensor(content["a"])


def test_one_of_several_disks_is_refused(tmp_path: Path) -> None:
    """What only looks for the end of a zip stumbles over it already."""
    path = write_archive(tmp_path / "x.pt", pickle.dumps({}, 2))
    raw = path.read_bytes()
    end = raw.rfind(b"PK\x05\x06")
    path.write_bytes(raw[:end] + struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 3) + raw[end:])
    with pytest.raises(UserError, match=r"x\.pt: damaged: .*disks"):
        Archive(path)


@pytest.mark.parametrize("damage", ["encrypted", "unknown compression", "another name", "beyond the end", "crc"])
@pytest.mark.parametrize("entry", ["data.pkl", "byteorder", "data/0"])
def test_entries_of_a_zip_that_are_not_what_they_say(tmp_path: Path, damage: str, entry: str) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.arange(4)}, path)
    raw = bytearray(path.read_bytes())
    name = f"x/{entry}".encode()
    local, central = (raw.find(name, at) for at in (0, raw.find(b"PK\x01\x02")))
    while raw[central - 46 : central - 42] != b"PK\x01\x02":
        central = raw.find(name, central + 1)
    if damage == "encrypted":
        raw[central - 38] |= 1
    elif damage == "unknown compression":
        raw[central - 36] = 77
    elif damage == "another name":
        raw[local] = ord("y")
    elif damage == "beyond the end":
        raw[central - 4 : central] = struct.pack("<I", len(raw) * 2)
    else:
        raw[central - 30] ^= 255
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"x\.pt: ") as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
