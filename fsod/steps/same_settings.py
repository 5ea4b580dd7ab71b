"""Weights and a configuration belong together only where the settings that shaped the weights are those it has now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsod.config import CommonSettings
from fsod.config_file import override_settings
from fsod.errors import UserError

_PACE = ("checkpoint_every", "log_every", "workers")
"""Keys of any section that do not change what is learned."""


def refuse_other_settings(file: Path, trained: Mapping[str, Any], settings: CommonSettings, sections: set[str]) -> None:
    """Refuses weights that were trained with other settings.

    Args:
        file: of the weights.
        trained: the settings in its header.
        settings: those of the configuration.
        sections: which of them shape these weights.

    Raises:
        UserError: any of ``sections`` differs; the message names the keys.
    """
    done = override_settings(dict(trained), [], file, type(settings))
    before, now = (_by_key(one.model_dump(mode="json", include=sections)) for one in (done, settings))
    if other := [key for key in before | now if before.get(key) != now.get(key)]:
        raise UserError(
            f"{file}: was trained with other settings ({', '.join(other)}); give those, or delete it and train again, or give "
            "another run_dir"
        )


def _by_key(dumped: dict[str, Any]) -> dict[str, Any]:
    """Values under ``section.key``, or under ``key`` where it is in no section; without those of the pace."""
    sections = {name: value if isinstance(value, dict) else {"": value} for name, value in dumped.items()}
    pairs = ((name, key, value) for name, keys in sections.items() for key, value in keys.items() if key not in _PACE)
    return {f"{name}.{key}".rstrip("."): value for name, key, value in pairs}
