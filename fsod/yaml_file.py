"""YAML of anybody's: plain data and nothing that is larger than it looks.

Ten lines of aliases can stand for more values than memory holds. They are expanded on paper first, and counted.
"""

from __future__ import annotations

import reprlib
from pathlib import Path

import yaml

from fsod.errors import UserError, one_line
from fsod.files import decoded

MAX_VALUES = 100_000
"""What a file may hold with all aliases expanded; a data set of ten thousand classes has as many."""


def read_yaml(path: Path) -> object:
    """The content of a YAML file.

    Raises:
        UserError: no such file, not valid YAML, a key that is there twice, or aliases that stand for more than 100,000 values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return parse_yaml(decoded(path.read_bytes()))
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error


def parse_yaml(text: str) -> object:
    """The content of a YAML text; ValueError, in one line, where it is not valid or too large."""
    try:
        return _parsed(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # a date of the 99th month is a ValueError, an empty number an IndexError, and an object as a key a TypeError
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(one_line(error)) from error


def _parsed(text: str) -> object:
    loader = yaml.SafeLoader(text)  # refuses characters that YAML does not have
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count(node, {}) > MAX_VALUES:
            raise ValueError(f"its aliases stand for more than {MAX_VALUES} values")
        _refuse_doubles(node, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, itself among them; ValueError for one that holds itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise ValueError("an alias stands for what it is in")
        return count
    known[id(node)] = None
    inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    known[id(node)] = count = 1 + sum(_count(part, known) for part in inner)
    return count


def _refuse_doubles(node: yaml.Node, seen: set[int]) -> None:
    """ValueError for a key that a mapping has twice: PyYAML takes the last, and drops all that the first holds."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    line_of: dict[tuple[str, str], int] = {}
    for part in node.value:
        key, value = part if isinstance(node, yaml.MappingNode) else (None, part)
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in line_of:
                raise ValueError(f"line {line} has the key {shown(key.value)}, as line {line_of[name]} has; remove one")
            line_of[name] = line
        _refuse_doubles(value, seen)


def shown(value: object) -> str:
    """A value for a message: as YAML has it, cut where it is long or nested."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 60, 60
    try:
        return short.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
