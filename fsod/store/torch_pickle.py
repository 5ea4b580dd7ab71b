"""Reads tensors out of a file of ``torch.save`` without executing it.

A pickle is a program: it names functions and calls them. This reader obeys the part of the program that builds data. It
knows the few functions by which PyTorch rebuilds a tensor and has its own for them; every other name becomes an inert
class that holds what is put into it, and calling one ends the reading. No module is imported, no code of the file's
author runs, and tensors are only descriptions until somebody who knows the shape he wants asks for their numbers.
"""

# Not torch.load(weights_only=True) with stand-ins: a key of deep tuples ends its process by a crash of the stack, see "deep key" in
# tests/store/test_torch_pickle.py.
from __future__ import annotations

import io
import lzma
import pickle
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn, Self
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

from fsod.errors import UserError, one_line

DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Called in honest checkpoints for things beside the weights (a best score, a device); the result is never looked at.
IGNORED_CALLS = {
    "_codecs.encode",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "torch.Size",
    "torch.device",
}


_DAMAGED_ZIP = (
    *(BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(KeyError, ValueError, RuntimeError, NotImplementedError, OverflowError),  # encrypted, or of a kind not known here
)


class StoredTensor(NamedTuple):
    """Where a tensor's numbers lie; what the file says, unchecked.

    Attributes:
        key: of the storage in the archive.
        dtype: of the storage.
        offset: of the first number, in numbers.
        shape: of the tensor.
        strides: of the tensor, in numbers.
    """

    key: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """Stands for an object of a class that is not known here: holds its state, can do nothing."""

    __slots__ = ("state",)
    state: object

    def __new__(cls, *_: object, **__: object) -> Self:
        """Whatever the constructor's arguments are."""
        held = object.__new__(cls)
        held.state = {}
        return held

    def __setstate__(self, state: object) -> None:
        self.state = state

    def attribute(self, name: str) -> object:
        """What the object's ``__dict__`` would hold under ``name``, None if nothing."""
        return self.state.get(name) if isinstance(self.state, dict) else None


class Archive:
    """A file that ``torch.save`` wrote since PyTorch 1.6: a zip of one pickle and raw storages.

    Args:
        path: the file.

    Raises:
        UserError: no such file, or one of another form.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        self.path = path
        try:
            if not is_zipfile(path):
                raise UserError(
                    f"{path}: not a zip archive of torch.save; files from before PyTorch 1.6 are not read "
                    "(load and save it again with a newer PyTorch, where you trust it)"
                )
            with ZipFile(path) as file:
                entries = file.infolist()
        except _DAMAGED_ZIP as error:
            raise UserError(f"{path}: damaged: {one_line(error)}") from error
        pickles = [entry.filename for entry in entries if entry.filename.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise UserError(f"{path}: a zip archive, but not one of torch.save (no data.pkl in it)")
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            # torch never compresses; so nothing in here is larger than the file itself
            raise UserError(f"{path}: has compressed entries, which torch.save does not write")
        self.root = pickles[0].removesuffix("data.pkl")
        if any(entry.filename == self.root + "byteorder" for entry in entries) and self._byte_order() != b"little":
            raise UserError(f"{path}: written on a big-endian machine; save it again on another")

    def load(self) -> object:
        """The pickled object: plain data, ``StoredTensor`` and ``Inert``.

        Raises:
            UserError: it calls a function that is not on the list (the message names it), or is damaged.
        """
        try:
            return _InertUnpickler(self.path, self._read("data.pkl")).load()
        except UserError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way there is
            raise UserError(f"{self.path}: not a readable pickle: {type(error).__name__} {one_line(error)}") from error

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The numbers of a tensor, whose shape the caller has found to be reasonable.

        Raises:
            UserError: they are not in the file.
        """
        try:
            numbers = torch.frombuffer(bytearray(self._read(f"data/{stored.key}")), dtype=stored.dtype)
            return numbers.as_strided(stored.shape, stored.strides, stored.offset).clone()
        except (TypeError, *_DAMAGED_ZIP) as error:
            raise UserError(f"{self.path}: storage {stored.key[:60]!r} is damaged: {one_line(error)}") from error

    def _byte_order(self) -> bytes:
        try:
            return self._read("byteorder")
        except _DAMAGED_ZIP as error:
            raise UserError(f"{self.path}: damaged: {one_line(error)}") from error

    def _read(self, name: str) -> bytes:
        with ZipFile(self.path) as file:
            return file.read(self.root + name)


def _check_key(key: object) -> None:
    """UnpicklingError for a key of tuples in tuples: Python hashes them by recursion in C, and ends itself where it is deep."""
    if isinstance(key, tuple | frozenset) and any(isinstance(part, tuple | frozenset) for part in key):
        raise pickle.UnpicklingError("a key of tuples in tuples")


_LOAD = pickle._Unpickler.dispatch
"""What each instruction of a pickle does, by its number."""


def _checked(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """An instruction that looks at what it will hash, ``keys`` of the stack, before it does."""

    def load_checked(unpickler: Any) -> None:  # noqa: ANN401 - it has no type that says it has a stack
        for key in unpickler.stack[keys]:
            _check_key(key)
        load(unpickler)

    return load_checked


def _refuse_bytearray(_: object) -> None:
    raise pickle.UnpicklingError("an array of bytes, for which Python makes room before it reads them")


class _InertUnpickler(pickle._Unpickler):
    """Builds what a pickle describes from data alone.

    It is Python's unpickler in Python: the one in C makes room for as many remembered objects as the pickle says there
    are, and hashes whatever it is told to.

    ``find_class`` and ``persistent_load`` are the only ways from a pickle to the world outside it. It can call what they
    return, or set attributes of it, so both must be harmless. That is why the known functions are bound methods: code
    and defaults of a plain function can be set.
    """

    def __init__(self, path: Path, program: bytes) -> None:
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self._path = path
        self._known: dict[str, object] = {
            "torch._utils._rebuild_tensor_v2": self._rebuild_tensor,
            "torch._utils._rebuild_parameter": self._rebuild_parameter,
            "collections.OrderedDict": self._ordered,
            "builtins.set": self._set,
            "__builtin__.set": self._set,
            **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
            **dict.fromkeys(IGNORED_CALLS, Inert),
        }

    def find_class(self, module: str, name: str) -> object:
        """Our own stand-in for a name; nothing is ever imported."""
        dotted = f"{module}.{name}"
        if dotted in self._known:
            return self._known[dotted]
        return _Uncallable("Foreign", (Inert,), {"__slots__": (), "path": self._path, "dotted": dotted})

    def persistent_load(self, pid: object) -> StoredTensor:
        """Torch's reference to a storage, ("storage", type, key, location, count), as a tensor of one dimension."""
        if not isinstance(pid, tuple) or len(pid) != 5:
            raise pickle.UnpicklingError("a reference to something that is no storage")
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return StoredTensor(key, dtype, 0, (count,), (1,))

    def _rebuild_tensor(
        self, storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> StoredTensor:
        if not isinstance(storage, StoredTensor):
            raise pickle.UnpicklingError("a tensor without a storage")
        return storage._replace(offset=offset, shape=tuple(shape), strides=tuple(strides))

    def _rebuild_parameter(self, data: object, *_: object) -> object:
        return data

    def _ordered(self, pairs: Iterable[tuple[object, object]] = ()) -> _Ordered:
        made = _Ordered()
        for key, value in pairs:
            _check_key(key)
            made[key] = value
        return made

    def _set(self, items: Iterable[object] = ()) -> set[object]:
        found = list(items)
        for item in found:
            _check_key(item)
        return set(found)

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_LOAD,
        pickle.SETITEM[0]: _checked(_LOAD[pickle.SETITEM[0]], slice(-2, -1)),
        pickle.SETITEMS[0]: _checked(_LOAD[pickle.SETITEMS[0]], slice(0, None, 2)),
        pickle.DICT[0]: _checked(_LOAD[pickle.DICT[0]], slice(0, None, 2)),
        pickle.ADDITEMS[0]: _checked(_LOAD[pickle.ADDITEMS[0]], slice(None)),
        pickle.FROZENSET[0]: _checked(_LOAD[pickle.FROZENSET[0]], slice(None)),
        pickle.BYTEARRAY8[0]: _refuse_bytearray,
    }


class _Ordered(dict[Any, Any]):
    """An OrderedDict without attributes: pickles of state dicts set one, and one could hide a method."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class _Uncallable(type):
    """The class of classes that are not known here: filling an object of one is data, calling one is refused by name."""

    path: Path
    dotted: str

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        name = ascii(cls.dotted[:200])[1:-1]
        raise UserError(f"{cls.path}: refused: the file wants to call {name}, which no weights need; nothing was run")
