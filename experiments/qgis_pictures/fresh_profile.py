"""A profile of QGIS in which nobody has worked yet, with the plugin installed as from its archive."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from fsod.qgis.plugin_archive import FOLDER


def fresh_profile(archive: Path, root: Path) -> Path:
    """Makes it.

    Args:
        archive: that ``fsod qgis zip`` wrote.
        root: folder of the profiles, which QGIS takes as ``--profiles-path`` or ``QGIS_CUSTOM_CONFIG_PATH``.

    Returns:
        The folder of the profiles.
    """
    profile = root / "profiles" / "default"
    with ZipFile(archive) as packed:
        packed.extractall(profile / "python" / "plugins")
    settings = profile / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[PythonPlugins]\n{FOLDER}=true\n")
    return root
