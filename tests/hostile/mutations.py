"""Damage to files, as a broken disk, a careless editor or an attacker does it: seeded, so that each case comes again."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any
from zipfile import ZipFile

import onnx

ODD_JSON = (
    *("null", "true", "false", "-1", "0", "1e308", "1e999", "NaN", "-Infinity", "2147483648", "9223372036854775808"),
    *('""', '"\\ud800"', '"a\\u0000b"', '"\\u001b[2J"', '"../../x"', '"' + "x" * 100_000 + '"', "[]", "{}", "[[1]]"),
    *("1" * 5000, "-" + "9" * 5000, "1e" + "9" * 400, "0.5", '"1"', "[1,2,3]", '{"a":1}', "[" * 400 + "]" * 400),
    "[" * 100_000 + "]" * 100_000,
)
"""Values, as JSON has them, that are of the wrong kind, out of range, or too much."""

ODD_WORDS = (
    *(b"", b"-1", b"0", b"0.0", b"1e308", b"1e999", b"nan", b"inf", b"-inf", b"2147483648", b"9223372036854775808"),
    *(b"9" * 5000, b"x" * 100_000, b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[2J", b"../../x", b"/dev/null"),
    *(b"null", b"true", b"2024-99-99", b"[", b"{", b"&a", b"*a", b"!!python/object", b"<", b"&x;", b"%", b"1_000"),
    *(b"1 2", b"\n", b"\r", b"\t", b'"', b"'", b":", b",", b"\xc3\xa4", "\N{ARABIC-INDIC DIGIT THREE}".encode()),
)
ODD_BYTES = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"),
    *(b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff" * 8, b"\x00" * 64, b"\x01\x00\x00\x00"),
)
_WORD = re.compile(rb"[^\s<>\[\]{}(),:\"'=]+")
_MARK = "\ue000odd\ue000"


def mutated(content: bytes, name: str, rng: Random) -> bytes:
    """The content of a file of this name, damaged once to four times: where it has a form by its form, or byte by byte."""
    by_form = next((mutate for ends, mutate in _BY_FORM.items() if name.endswith(ends)), mutated_bytes)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not content:
            return content
        content = mutated_bytes(content, rng) if rng.random() < 0.25 else by_form(content, rng)
    return content


def mutated_bytes(content: bytes, rng: Random) -> bytes:
    """Bits turned, pieces cut out, repeated, moved, overwritten, or the end missing."""
    size = len(content)
    # headers decide the most, and are short
    start = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(min(size, 512))
    length = rng.choice((1, 1, 2, 4, 8, 64, 1000))
    match rng.randrange(7):
        case 0:
            return content[:start]
        case 1:
            return content[:start] + content[start + length :]
        case 2:
            return content[: start + length] + content[start:]
        case 3:
            return content[:start] + rng.randbytes(min(length, 8)) + content[start + min(length, 8) :]
        case 4:
            odd = rng.choice(ODD_BYTES)
            return content[:start] + odd + content[start + len(odd) :]
        case 5:
            return content[:start] + rng.choice(ODD_BYTES) + content[start:]
        case _:
            return content[:start] + bytes([content[start] ^ 1 << rng.randrange(8)]) + content[start + 1 :]


def mutated_text(content: bytes, rng: Random) -> bytes:
    """A word replaced, a line missing or there twice."""
    if not content:
        return content
    if rng.random() < 0.3:
        lines = content.splitlines(keepends=True)
        i = rng.randrange(len(lines))
        return b"".join([*lines[:i], *rng.choice(([], [lines[i]] * 2, [rng.choice(lines)])), *lines[i + 1 :]])
    words = list(_WORD.finditer(content))
    if not words:
        return mutated_bytes(content, rng)
    word = rng.choice(words)
    other = rng.choice(words)[0] if rng.random() < 0.2 else rng.choice(ODD_WORDS)
    return content[: word.start()] + other + content[word.end() :]


def mutated_json(content: bytes, rng: Random) -> bytes:
    """A value replaced by an odd one or by another of the file, a key or an item missing or renamed."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return mutated_text(content, rng)
    places: list[tuple[Any, Any]] = []
    _collect(tree, places)
    if not places:
        return mutated_text(content, rng)
    holder, key = rng.choice(places)
    odd = rng.choice(ODD_JSON)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("", "id", "x" * 1000, str(key) + " "))] = holder.pop(key)
        case 2:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        case 3 if isinstance(holder[key], str) and holder[key].startswith("{"):
            # a text that is JSON again, as headers are
            holder[key] = mutated_json(holder[key].encode(errors="surrogatepass"), rng).decode(errors="replace")
        case _ if isinstance(holder[key], str) and holder[key].startswith("{") and rng.random() < 0.9:
            holder[key] = mutated_json(holder[key].encode(errors="surrogatepass"), rng).decode(errors="replace")
        case _:
            holder[key] = _MARK
    return json.dumps(tree).replace(json.dumps(_MARK), odd).encode()


def _collect(tree: Any, places: list[tuple[Any, Any]]) -> None:
    """Every place of a value in the tree; those at the top twice, as they decide most."""
    waiting = [tree]
    while waiting and len(places) < 20_000:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
        for key in keys:
            places.append((node, key))
            waiting.append(node[key])


def mutated_journal(content: bytes, rng: Random) -> bytes:
    """A line mutated as JSON, with the checksum that it would have had, half the time."""
    lines = content.splitlines(keepends=True)
    i = rng.randrange(len(lines))
    line = mutated_json(lines[i], rng)
    if rng.random() < 0.8 and b',"crc32":' in lines[i]:
        text = mutated_json(lines[i].rpartition(b',"crc32":')[0] + b"}", rng).removesuffix(b"}")
        line = text + b',"crc32":"%08x"}\n' % zlib.crc32(text)
    return b"".join([*lines[:i], line, *lines[i + 1 :]])


def mutated_safetensors(content: bytes, rng: Random) -> bytes:
    """The header mutated as JSON, with the length that it then has."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
    except (ValueError, struct.error, RecursionError):
        return mutated_bytes(content, rng)
    if not isinstance(header, dict):
        return mutated_bytes(content, rng)
    about = header.get("__metadata__")
    if rng.random() < 0.7 and isinstance(about, dict) and isinstance(about.get("fsod"), str):
        about["fsod"] = mutated_json(about["fsod"].encode(errors="surrogatepass"), rng).decode(errors="replace")
        text = json.dumps(header).encode()
    else:
        text = mutated_json(json.dumps(header).encode(), rng)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def mutated_zip(content: bytes, rng: Random) -> bytes:
    """An entry mutated, with the checksum that it then has."""
    try:
        with ZipFile(BytesIO(content)) as file:
            entries = {entry.filename: file.read(entry) for entry in file.infolist()}
    except Exception:  # noqa: BLE001 - damaged before
        return mutated_bytes(content, rng)
    if not entries:
        return mutated_bytes(content, rng)
    name = next((n for n in entries if n.endswith("data.pkl") and rng.random() < 0.8), rng.choice(list(entries)))
    if entries[name]:
        entries[name] = mutated_bytes(entries[name], rng)
    out = BytesIO()
    with ZipFile(out, "w") as file:
        for entry, inside in entries.items():
            file.writestr(entry, inside)
    return out.getvalue()


def mutated_onnx(content: bytes, rng: Random) -> bytes:
    """Metadata, names, shapes and types of the network mutated."""
    try:
        model = onnx.load_from_string(content)
    except Exception:  # noqa: BLE001 - damaged before
        return mutated_bytes(content, rng)
    graph = model.graph
    values = [*graph.input, *graph.output]
    if rng.random() < 0.5 and model.metadata_props:
        prop = rng.choice(model.metadata_props)
        text = prop.value if isinstance(prop.value, bytes) else prop.value.encode()  # protobuf's, if it is not UTF-8
        prop.value = mutated_json(text, rng).decode(errors="replace")
    elif values:
        value = rng.choice(values)
        shape = value.type.tensor_type.shape
        match rng.randrange(4):
            case 0:
                value.name = rng.choice(("", "x", "images", "output0", "x" * 1000))
            case 1 if shape.dim:
                rng.choice(shape.dim).dim_value = rng.choice((0, 1, 3, 7, -1, 2**40))
            case 2 if shape.dim:
                del shape.dim[rng.randrange(len(shape.dim))]
            case _:
                value.type.tensor_type.elem_type = rng.randrange(20)
    return model.SerializeToString()


_BY_FORM: dict[str | tuple[str, ...], Callable[[bytes, Random], bytes]] = {
    (".json", ".geojson"): mutated_json,
    ".journal": mutated_journal,
    ".safetensors": mutated_safetensors,
    (".pt", ".state"): mutated_zip,
    ".onnx": mutated_onnx,
    (".xml", ".vrt", ".txt", ".yaml", ".csv", ".kml", ".gml", ".wld", ".jgw", ".prj", ".cpg", ".qml"): mutated_text,
}
