"""Named families that move: aircraft, ships, vehicles."""

from __future__ import annotations

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Design, Family, Range, motif

WHITE, CHALK = (238, 239, 236), (214, 212, 204)


def _jet(span: Range, sweep: Range, root: Range, engines: int, width: Range = (0.085, 0.115)) -> Design:
    pods = [
        motif(s.capsule, 3, mirror=True, x=x, y=y, length=(0.09, 0.13), width=(0.035, 0.05))
        for x, y in ((0.07, 0.17), (-0.03, 0.29))[:engines]
    ]
    return (
        *pods,
        motif(
            s.swept_wing, 1, base=0.05, top=0.06, x=(0.02, 0.08), span=span, root=root, tip=(0.04, 0.08), sweep=sweep
        ),
        motif(
            s.swept_wing,
            1,
            base=0.05,
            top=0.06,
            x=-0.43,
            span=(0.3, 0.38),
            root=(0.1, 0.13),
            tip=0.05,
            sweep=(0.06, 0.1),
        ),
        motif(s.fuselage, 0, base=0.03, top=0.11, length=1.0, width=width, nose=(0.08, 0.14), tail=(0.2, 0.3)),
        motif(s.bar, 2, base=0.1, top=0.24, x=-0.42, length=(0.12, 0.18), width=0.022),
        motif(s.bar, 3, x=0.445, length=0.022, width=0.045),
    )


def _propeller_plane() -> Design:
    return (
        motif(
            s.swept_wing, 1, base=0.1, top=0.11, x=(0.12, 0.18), span=(1.15, 1.35), root=0.17, tip=0.13, sweep=(0, 0.02)
        ),
        motif(s.swept_wing, 1, base=0.1, top=0.11, x=-0.43, span=(0.38, 0.46), root=0.12, tip=0.09, sweep=(0, 0.02)),
        motif(s.fuselage, 0, base=0.03, top=0.14, length=1.0, width=(0.12, 0.15), nose=0.12, tail=(0.35, 0.5)),
        motif(s.bar, 2, base=0.1, top=0.25, x=-0.42, length=0.13, width=0.025),
        motif(s.bar, 3, x=0.26, length=0.05, width=0.1),
    )


def aircraft() -> Family:
    """Airliners, jets, propeller planes and deltas."""
    delta = (
        motif(
            s.swept_wing,
            1,
            base=0.04,
            top=0.05,
            x=-0.1,
            span=(0.62, 0.74),
            root=(0.5, 0.62),
            tip=0.1,
            sweep=(0.28, 0.34),
        ),
        motif(s.swept_wing, 1, base=0.04, top=0.05, x=-0.42, span=(0.36, 0.44), root=0.14, tip=0.06, sweep=0.08),
        motif(s.fuselage, 0, base=0.02, top=0.1, length=1.0, width=(0.1, 0.13), nose=(0.28, 0.36), tail=0.1),
        motif(s.bar, 2, mirror=True, top=0.2, x=-0.36, y=0.07, length=0.16, width=0.02),
        motif(s.capsule, 3, x=0.24, length=0.12, width=0.05),
    )
    return Family(
        name="aircraft",
        designs=(
            _jet((0.86, 1.0), (0.24, 0.32), (0.2, 0.26), 1),
            _jet((0.95, 1.08), (0.28, 0.36), (0.2, 0.26), 2),
            _jet((0.62, 0.74), (0.16, 0.24), (0.16, 0.22), 0, (0.08, 0.1)),
            _propeller_plane(),
            delta,
        ),
        palettes=(
            (WHITE, (205, 208, 212), (60, 80, 140), (84, 88, 96)),
            (WHITE, (216, 216, 214), (170, 50, 48), (70, 74, 82)),
            ((190, 195, 200), (172, 178, 184), (120, 126, 134), (60, 64, 72)),
            ((128, 134, 130), (116, 122, 118), (92, 98, 96), (48, 52, 56)),
        ),
        size_m=(26, 58),
        arrangement="row",
        pad=(150, 148, 144),
    )


def ship() -> Family:
    """Cargo ships, tankers and yachts."""
    shell = motif(s.hull, 0, top=0.06, length=1.0, beam=(0.15, 0.2), bow=(0.16, 0.26), stern=(0.7, 0.9))
    deck = motif(s.hull, 1, length=0.93, beam=(0.11, 0.14), bow=(0.16, 0.26), stern=0.75)
    house = motif(s.bar, 3, top=0.16, x=(-0.4, -0.34), length=(0.07, 0.1), width=0.11)
    return Family(
        name="ship",
        designs=(
            (
                shell,
                deck,
                motif(s.bar, 2, top=0.08, copies=(3, 6), step_x=0.125, x=0.05, length=0.095, width=(0.09, 0.11)),
                house,
            ),
            (
                shell,
                deck,
                motif(s.bar, 2, x=0.05, length=0.62, width=0.014),
                motif(s.disc, 2, copies=(3, 5), step_x=0.14, x=0.05, length=0.05, width=0.05),
                house,
            ),
            (
                motif(s.hull, 0, top=0.06, length=1.0, beam=(0.24, 0.3), bow=(0.36, 0.46), stern=(0.75, 0.95)),
                motif(s.hull, 1, x=-0.03, length=0.84, beam=(0.18, 0.22), bow=0.4, stern=0.8),
                motif(s.capsule, 3, top=0.12, x=(-0.12, 0.0), length=(0.3, 0.42), width=(0.11, 0.14)),
                motif(s.bar, 2, x=(0.1, 0.16), length=0.06, width=0.11),
            ),
        ),
        palettes=(
            ((120, 58, 52), (150, 92, 78), (96, 112, 140), WHITE),
            ((60, 66, 80), (128, 134, 138), (176, 116, 66), WHITE),
            ((228, 230, 230), (190, 176, 148), (70, 84, 104), WHITE),
            ((66, 92, 84), (122, 140, 128), (176, 168, 150), CHALK),
        ),
        size_m=(28, 82),
        setting="water",
    )


def vehicle() -> Family:
    """Cars, vans and lorries."""

    def car(width: Range, glass: float) -> Design:
        return (
            motif(s.capsule, 0, top=0.3, length=1.0, width=width),
            motif(s.bar, 0, length=0.8, width=width),
            motif(s.bar, 1, x=glass, length=0.14, width=0.34),
            motif(s.bar, 1, x=-0.34, length=0.09, width=0.3),
        )

    lorry = (
        motif(s.bar, 2, top=0.3, x=0.39, length=0.22, width=(0.3, 0.34)),
        motif(s.bar, 1, x=0.44, length=0.06, width=0.26),
        motif(s.bar, 0, top=0.34, x=-0.12, length=0.76, width=(0.33, 0.38)),
    )
    return Family(
        name="vehicle",
        designs=(car((0.42, 0.48), 0.16), car((0.44, 0.52), 0.24), lorry),
        palettes=(
            (WHITE, (40, 44, 52), (200, 200, 200)),
            ((56, 58, 64), (20, 22, 28), (150, 40, 40)),
            ((168, 42, 40), (36, 34, 40), WHITE),
            ((52, 82, 140), (28, 32, 44), WHITE),
            ((176, 180, 184), (44, 48, 56), (60, 90, 150)),
            ((206, 176, 70), (44, 44, 48), (90, 90, 90)),
        ),
        size_m=(9, 15),
        arrangement="row",
        pad=(108, 108, 110),
        colour_spread=14.0,
    )
