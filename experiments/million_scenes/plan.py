"""The arithmetic of a million scenes: from what a core was measured to do, and assumptions that stand here."""

from __future__ import annotations

SCENES = 1_000_000
SCENE_PX = 10_000
GSD_M = 0.5
STEP_PX = 480
"""Windows of 640 px that share 160."""

CORES = 1_000
CORE_HOUR_USD = 0.04
"""A virtual core of a general-purpose machine on demand. Two of them share a physical one, so each counts half."""

SPOT_SHARE = 0.35
"""What a core costs that may be taken away."""

BLOCK_PX = 512
BLOCKS_A_READ = 2
"""Blocks of one row that lie side by side in the file come in one request."""

REREAD = 1.3
"""Blocks at the borders of tasks are read twice, headers and overviews once a scene."""

MILLION_READS_USD = 0.4
TB_MONTH_USD = 23
FOUND_A_KM2 = 20
BYTES_A_FEATURE = 500


def plan(windows_per_s_core: float, driver_s_a_scene: float, bytes_a_px: float) -> dict[str, float]:
    """What ``SCENES`` need.

    Args:
        windows_per_s_core: of one core, reading included, without what the driver does.
        driver_s_a_scene: CPU time of the program that hands out, merges and writes.
        bytes_a_px: of a compressed scene.

    Returns:
        Sums over all scenes; ``usd_a_million_km2`` is for compute and reading, without storage; ``drivers`` is how many
        programs must share the list so that ``CORES`` never wait.
    """
    km2 = SCENES * (SCENE_PX * GSD_M / 1000) ** 2
    windows = SCENES * (SCENE_PX / STEP_PX) ** 2
    core_hours = windows / windows_per_s_core / 3600
    compute_usd = 2 * core_hours * CORE_HOUR_USD
    reads = SCENES * (SCENE_PX / BLOCK_PX) ** 2 * REREAD / BLOCKS_A_READ
    terabytes = SCENES * SCENE_PX**2 * bytes_a_px / 1e12
    hours = core_hours / CORES
    return {
        "million_km2": km2 / 1e6,
        "windows": windows,
        "core_hours": core_hours,
        "hours_on_1000_cores": hours,
        "compute_usd": compute_usd,
        "compute_usd_spot": compute_usd * SPOT_SHARE,
        "reads_usd": reads / 1e6 * MILLION_READS_USD,
        "terabytes_of_scenes": terabytes,
        "storage_usd_a_month": terabytes * TB_MONTH_USD,
        "gigabit_per_s_read": terabytes * REREAD * 8e3 / (hours * 3600),
        "gigabytes_of_layers": km2 * FOUND_A_KM2 * BYTES_A_FEATURE / 1e9,
        "drivers": SCENES * driver_s_a_scene / (hours * 3600),
        "usd_a_million_km2": (compute_usd + reads / 1e6 * MILLION_READS_USD) / (km2 / 1e6),
        "usd_a_million_km2_spot": (compute_usd * SPOT_SHARE + reads / 1e6 * MILLION_READS_USD) / (km2 / 1e6),
    }
