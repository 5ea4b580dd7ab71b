"""Named families that were built: tanks, piers, bridges, turbines, and the houses and trees between them."""

from __future__ import annotations

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Design, Family, motif

WHITE = (238, 239, 236)


def storage_tank() -> Family:
    """Tanks with floating, conical and flat roofs."""
    floating = (
        motif(s.disc, 0, top=0.3, length=1.0, width=1.0),
        motif(s.disc, 2, length=0.92, width=0.92),
        motif(s.disc, 1, length=(0.78, 0.86), width=(0.78, 0.86), sunk=0.035),
        motif(s.bar, 2, x=(0.2, 0.26), length=0.36, width=0.03),
    )
    cone = (
        motif(s.disc, 2, top=0.28, length=1.0, width=1.0),
        motif(s.dome, 0, length=0.96, width=0.96, facets=14),
        motif(s.disc, 1, length=(0.1, 0.16), width=0.12),
        motif(s.arc, 2, radius=0.5, angle_deg=(40, 90), thickness=0.03, turn=(0, 6)),
    )
    flat = (
        motif(s.disc, 2, top=0.34, length=1.0, width=1.0),
        motif(s.disc, 0, length=0.94, width=0.94),
        motif(s.ring, 1, length=(0.55, 0.7), width=0.62, thickness=0.03),
        motif(s.bar, 2, x=0.1, length=0.7, width=0.025, turn=(0, 3)),
    )
    return Family(
        name="storage_tank",
        designs=(floating, cone, flat),
        palettes=(
            (WHITE, (206, 208, 206), (140, 142, 144)),
            ((198, 202, 200), (150, 150, 146), (96, 98, 100)),
            ((202, 190, 160), (170, 156, 126), (110, 100, 84)),
            ((150, 176, 160), (120, 146, 132), (80, 98, 92)),
        ),
        size_m=(15, 40),
        arrangement="cluster",
        pad=(168, 160, 146),
    )


def harbor() -> Family:
    """Jetties with fingers and moored boats, reaching out from a shore."""
    jetty = motif(s.bar, 0, top=0.03, length=1.0, width=(0.07, 0.1))
    fingers = motif(s.bar, 0, top=0.03, mirror=True, copies=(3, 5), step_x=0.2, x=0.08, y=0.17, length=0.04, width=0.27)
    boats = motif(
        s.hull,
        1,
        mirror=True,
        copies=(2, 4),
        step_x=0.2,
        x=(0.0, 0.2),
        y=0.19,
        turn=1.5708,
        length=(0.16, 0.2),
        beam=0.06,
        bow=0.4,
        stern=0.8,
    )
    head = motif(s.bar, 0, top=0.03, x=0.48, length=(0.08, 0.12), width=(0.4, 0.6))
    return Family(
        name="harbor",
        designs=((jetty, fingers, boats), (jetty, fingers, head), (jetty, fingers, head, boats)),
        palettes=(
            ((186, 180, 168), WHITE),
            ((158, 140, 116), (222, 222, 220)),
            ((204, 202, 196), (90, 104, 130)),
        ),
        size_m=(48, 84),
        setting="shore",
    )


def bridge() -> Family:
    """Road bridges over a stream."""
    deck = motif(s.bar, 0, base=0.06, top=0.08, length=1.0, width=(0.13, 0.17))
    rails = motif(s.bar, 1, mirror=True, base=0.08, top=0.1, y=0.07, length=1.0, width=0.018)
    line = motif(s.bar, 1, copies=9, step_x=0.11, length=0.05, width=0.012)
    return Family(
        name="bridge",
        designs=(
            (deck, rails, line),
            (deck, rails, motif(s.bar, 2, base=0.1, top=0.2, copies=(3, 6), step_x=0.17, length=0.025, width=0.2)),
            (
                deck,
                rails,
                line,
                motif(
                    s.bar, 2, mirror=True, base=0.06, top=0.22, copies=2, step_x=0.45, y=0.08, length=0.05, width=0.03
                ),
            ),
        ),
        palettes=(
            ((164, 162, 158), (216, 214, 208), (128, 128, 128)),
            ((116, 116, 118), (196, 194, 188), (150, 80, 62)),
            ((188, 180, 166), (228, 224, 214), (104, 118, 124)),
        ),
        size_m=(56, 92),
        setting="stream",
    )


def wind_turbine() -> Family:
    """Three blades, and a tower that only its shadow shows."""

    def rotor(width: float) -> Design:
        return (
            motif(s.disc, 0, top=1.3, length=0.05, width=0.05),
            motif(s.disc, 2, length=(0.12, 0.18), width=(0.12, 0.18)),
            motif(s.blade, 0, base=1.28, top=1.3, fold=3, turn=(0, 2.1), length=(0.48, 0.52), width=width, tip=0.018),
            motif(s.capsule, 1, x=-0.05, length=(0.14, 0.18), width=0.06),
            motif(s.disc, 0, length=0.07, width=0.07),
        )

    return Family(
        name="wind_turbine",
        designs=(rotor(0.06), rotor(0.075)),
        palettes=(
            ((246, 247, 247), (226, 228, 230), (182, 174, 160)),
            ((232, 233, 232), (206, 208, 210), (150, 146, 138)),
        ),
        size_m=(40, 66),
    )


def solar_array() -> Family:
    """Blocks of panel rows."""

    def rows(count: tuple[int, int], step: float, width: float, cells: float) -> Design:
        return (
            motif(s.bar, 0, top=0.03, copies=count, step_y=step, length=1.0, width=width),
            motif(s.bar, 1, copies=9, step_x=cells, length=0.008, width=step * count[0] - (step - width)),
            motif(s.bar, 1, copies=count, step_y=step, length=1.0, width=0.008),
        )

    return Family(
        name="solar_array",
        designs=(rows((4, 4), 0.16, 0.11, 0.11), rows((6, 6), 0.11, 0.07, 0.11), rows((5, 5), 0.13, 0.1, 0.11)),
        palettes=(
            ((38, 50, 86), (150, 160, 180)),
            ((30, 36, 58), (110, 120, 140)),
            ((56, 76, 118), (176, 184, 198)),
        ),
        size_m=(28, 54),
        aspect=(0.8, 1.15),
        arrangement="row",
    )


def roundabout() -> Family:
    """Ring roads around an island, with stubs of the roads that meet there."""
    island = (
        motif(s.disc, 0, length=0.84, width=0.84),
        motif(s.ring, 2, length=0.84, width=0.84, thickness=0.018),
        motif(s.disc, 2, length=(0.46, 0.52), width=(0.46, 0.52)),
        motif(s.disc, 1, length=0.42, width=0.42),
    )

    def meeting(roads: int) -> Design:
        return (
            motif(s.bar, 0, x=0.38, length=0.24, width=(0.17, 0.21), fold=roads),
            *island,
            motif(s.bar, 2, x=0.44, length=0.12, width=0.025, fold=roads),
        )

    trees = motif(s.disc, 3, top=0.12, x=(0.07, 0.12), length=0.1, width=0.1, fold=3)
    return Family(
        name="roundabout",
        designs=(meeting(4), meeting(3), (*meeting(4), trees)),
        palettes=(
            ((96, 96, 98), (98, 132, 72), (212, 210, 202), (56, 84, 46)),
            ((122, 120, 118), (134, 142, 90), (226, 224, 216), (64, 88, 52)),
            ((78, 80, 84), (168, 146, 112), (196, 192, 182), (72, 94, 56)),
        ),
        size_m=(42, 66),
    )


def helipad() -> Family:
    """Square or round pads with a ring and an H."""
    letter = (
        motif(s.bar, 1, mirror=True, y=0.12, length=0.36, width=(0.055, 0.075)),
        motif(s.bar, 1, length=0.06, width=0.24),
    )
    ring = motif(s.ring, 2, length=0.8, width=0.8, thickness=(0.04, 0.06))
    return Family(
        name="helipad",
        designs=(
            (motif(s.bar, 0, length=1.0, width=1.0), ring, *letter),
            (motif(s.disc, 0, length=1.0, width=1.0), ring, *letter),
            (motif(s.bar, 0, length=1.0, width=1.0), motif(s.disc, 2, length=0.84, width=0.84), *letter),
        ),
        palettes=(
            ((112, 112, 114), WHITE, (190, 66, 56)),
            ((84, 104, 84), WHITE, (226, 190, 70)),
            ((150, 146, 138), WHITE, (166, 62, 52)),
            ((76, 96, 132), WHITE, (132, 150, 178)),
        ),
        size_m=(18, 30),
    )


def silo_cluster() -> Family:
    """Grain silos in one or two rows, joined by a conveyor."""

    def silos(count: tuple[int, int], rows: int) -> Design:
        places = [0.0] if rows == 1 else [-0.14, 0.14]
        return (
            *(motif(s.disc, 1, top=0.5, copies=count[0], step_x=0.26, y=y, length=0.25, width=0.25) for y in places),
            *(motif(s.dome, 0, copies=count[0], step_x=0.26, y=y, length=0.24, width=0.24, facets=10) for y in places),
            motif(s.bar, 2, base=0.5, top=0.6, length=0.26 * count[1], width=(0.04, 0.06)),
        )

    return Family(
        name="silo_cluster",
        designs=(silos((3, 3), 1), silos((4, 4), 1), silos((3, 3), 2), silos((2, 2), 2)),
        palettes=(
            ((206, 208, 208), (150, 152, 154), (120, 122, 124)),
            ((186, 182, 170), (132, 128, 118), (98, 92, 84)),
            ((172, 184, 190), (118, 130, 138), (156, 84, 66)),
        ),
        size_m=(30, 50),
        pad=(160, 152, 138),
    )


def house() -> Family:
    """Houses and sheds: pitched, flat and angled roofs."""
    return Family(
        name="house",
        designs=(
            (motif(s.bar, 1, top=0.3, length=1.0, width=(0.5, 0.8)), motif(s.gable, 0, length=0.98, width=(0.5, 0.78))),
            (
                motif(s.bar, 1, top=0.25, length=1.0, width=(0.4, 0.7)),
                motif(s.bar, 0, length=0.95, width=(0.36, 0.6)),
                motif(s.bar, 1, x=(-0.3, 0.3), y=(-0.1, 0.1), length=(0.08, 0.2), width=(0.06, 0.12)),
            ),
            (motif(s.ell, 0, top=0.3, length=1.0, width=(0.7, 1.0), arm=(0.3, 0.4)),),
        ),
        palettes=(
            ((158, 84, 62), (124, 66, 50)),
            ((112, 110, 112), (86, 84, 86)),
            ((186, 180, 170), (142, 136, 128)),
            ((126, 102, 84), (96, 76, 62)),
        ),
        size_m=(12, 36),
        arrangement="row",
        colour_spread=12.0,
    )


def tree() -> Family:
    """Trees and shrubs, alone or in clumps."""
    return Family(
        name="tree",
        designs=(
            (
                motif(s.star, 1, top=0.7, length=1.0, points=(6, 9), depth=0.2),
                motif(s.dome, 0, length=0.8, width=0.8, facets=7),
            ),
            (motif(s.disc, 1, top=0.6, length=1.0, width=0.9), motif(s.disc, 0, x=0.06, y=0.06, length=0.6, width=0.6)),
        ),
        palettes=(
            ((70, 98, 52), (52, 76, 42)),
            ((92, 112, 60), (66, 84, 48)),
            ((60, 84, 58), (40, 60, 42)),
        ),
        size_m=(5, 13),
        arrangement="cluster",
    )
