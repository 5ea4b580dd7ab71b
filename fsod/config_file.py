"""Settings read from one YAML file and overridden key by key on the command line, or given by a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fsod.config import CommonSettings, PredictSettings, PretrainSettings, RunSettings
from fsod.errors import UserError, first_problem, nearest
from fsod.yaml_file import parse_yaml, read_yaml, shown

_EXPLAINED = 10
"""How many wrong keys a message names."""

S = TypeVar("S", bound=CommonSettings)


def load_settings(path: Path, overrides: list[str] | None = None) -> RunSettings:
    """Reads the YAML file of a run and applies overrides of the form ``section.key=value`` (value in YAML).

    Raises:
        UserError: no file, no YAML, an unknown key (with the nearest one there is), a wrong type or range; the message
            names file or override, key and cause.
    """
    return override_settings(_read(path), overrides or [], path, RunSettings)


def load_pretrain_settings(path: Path, overrides: list[str] | None = None) -> PretrainSettings:
    """The same for the YAML file of a pretraining."""
    return override_settings(_read(path), overrides or [], path, PretrainSettings)


def predict_settings(values: Mapping[str, object]) -> PredictSettings:
    """Settings that a program gives; UserError for an unknown one (with the nearest there is), a wrong type or range."""
    try:
        return PredictSettings.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"predict: {_explain(error, PredictSettings)}") from error


def common_settings(header: dict[str, Any]) -> CommonSettings:
    """The settings that all stages share, from a checkpoint's header; UserError if they are damaged."""
    try:
        return CommonSettings.model_validate({key: header[key] for key in CommonSettings.model_fields if key in header})
    except ValidationError as error:
        raise UserError(f"the settings in the header of the weights are damaged: {first_problem(error)}") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values")
    return content


def override_settings(content: dict[str, Any], overrides: list[str], origin: Path, kind: type[S]) -> S:
    """Settings from keys and values, with overrides on top; UserError as ``load_settings``, naming ``origin``."""
    for override in overrides:
        _override(content, override)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{origin}: {_explain(error, kind)}") from error


# Not OmegaConf (2.4): a key without a value counts as null, and ${oc.env:HOME} is filled in from the environment; both are in
# tests/test_config.py. pydantic-settings reads the environment as well.
def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"{override!r}: an override has the form section.key=value")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UserError(f"{override!r}: {section!r} is not a section")
    try:
        place[last] = parse_yaml(value)
    except ValueError as error:
        raise UserError(f"{override[:200]!r}: the value is not valid YAML ({error})") from error


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    problems = []
    for problem in error.errors()[:_EXPLAINED]:
        key = ".".join(str(part) for part in problem["loc"])[:100]
        if problem["type"] == "extra_forbidden":
            problems.append(f"unknown key {key!r}{nearest(key, _keys(kind))}")
        else:
            problems.append(f"{key}: {problem['msg']}, got {shown(problem['input'])}"[:200])
    return "; ".join(problems)


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        yield prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{prefix}{name}.")
