"""Named families of sports grounds."""

from __future__ import annotations

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Family, motif

WHITE = (238, 239, 236)


def tennis_court() -> Family:
    """Single tennis courts, often side by side."""
    lines = motif(s.court, 2, length=0.68, width=0.33, line=0.014, service=0.18, alley=0.04)
    apron = motif(s.bar, 0, length=1.0, width=(0.5, 0.58))
    return Family(
        name="tennis_court",
        designs=((apron, motif(s.bar, 1, length=0.68, width=0.33), lines), (apron, lines)),
        palettes=(
            ((72, 122, 84), (58, 96, 148), WHITE),
            ((60, 110, 76), (150, 92, 72), WHITE),
            ((178, 106, 76), (186, 112, 82), WHITE),
            ((66, 104, 150), (56, 84, 140), WHITE),
            ((88, 128, 88), (98, 144, 96), WHITE),
        ),
        size_m=(30, 40),
        arrangement="row",
    )


def basketball_court() -> Family:
    """Basketball courts with keys and arcs."""
    key = motif(s.key, 2, length=0.92, width=0.5, line=0.016, depth=0.19, lane_width=0.17)
    return Family(
        name="basketball_court",
        designs=(
            (
                motif(s.bar, 0, length=1.0, width=(0.56, 0.62)),
                *(motif(s.bar, 1, x=x, length=0.19, width=0.17) for x in (-0.365, 0.365)),
                key,
            ),
            (motif(s.bar, 0, length=1.0, width=(0.56, 0.62)), motif(s.disc, 1, length=0.16, width=0.16), key),
        ),
        palettes=(
            ((158, 150, 140), (176, 84, 60), WHITE),
            ((190, 128, 86), (100, 112, 150), WHITE),
            ((142, 88, 78), (86, 130, 92), WHITE),
            ((112, 116, 122), (150, 70, 62), WHITE),
        ),
        size_m=(24, 34),
        arrangement="row",
    )


def baseball_diamond() -> Family:
    """Ball fields: grass, skinned infield, bases."""
    infield = (
        motif(s.diamond, 1, x=-0.18, radius=(0.52, 0.6), angle_deg=(92, 104)),
        motif(s.polygon, 2, x=-0.2, length=(0.4, 0.46), width=(0.4, 0.46), sides=4),
        motif(s.disc, 1, x=-0.2, length=0.075, width=0.075),
        motif(s.disc, 1, x=-0.42, length=0.1, width=0.1),
    )
    return Family(
        name="baseball_diamond",
        designs=(
            (motif(s.diamond, 0, radius=1.0, angle_deg=(90, 98)), *infield),
            (
                motif(s.diamond, 1, radius=1.0, angle_deg=(92, 100)),
                motif(s.diamond, 0, x=-0.01, radius=0.92, angle_deg=88),
                *infield,
            ),
            (motif(s.diamond, 1, radius=1.0, angle_deg=(92, 112)), *infield[1:]),
        ),
        palettes=(
            ((94, 134, 68), (188, 146, 104), (104, 142, 74)),
            ((112, 142, 82), (168, 118, 84), (120, 148, 86)),
            ((84, 116, 64), (204, 176, 138), (90, 120, 66)),
        ),
        size_m=(44, 74),
    )


def track_field() -> Family:
    """Running tracks around a pitch."""
    lanes = [motif(s.lane, 2, length=1.0 - d, width=0.52 - d, thickness=0.007) for d in (0.035, 0.075, 0.115)]
    oval = (motif(s.capsule, 0, length=1.0, width=0.52), *lanes, motif(s.capsule, 1, length=0.84, width=0.36))
    pitch = (
        motif(s.frame, 2, length=0.5, width=0.29, thickness=0.007),
        motif(s.bar, 2, length=0.007, width=0.29),
        motif(s.ring, 2, length=0.09, width=0.09, thickness=0.008),
    )
    return Family(
        name="track_field",
        designs=(
            (*oval, *pitch),
            (*oval, motif(s.diamond, 0, x=0.33, radius=0.14, angle_deg=150, turn=3.1416), *pitch[:2]),
            (*oval, motif(s.bar, 3, length=(0.46, 0.54), width=0.3), *pitch),
        ),
        palettes=(
            ((176, 86, 66), (96, 138, 74), WHITE, (110, 152, 84)),
            ((160, 100, 82), (118, 140, 88), WHITE, (130, 150, 96)),
            ((96, 112, 148), (88, 128, 70), WHITE, (100, 140, 80)),
        ),
        size_m=(76, 112),
        aspect=(0.92, 1.12),
    )
