"""NWPU VHR-10 in miniature, in its official layout: ten classes of drawn objects, two of each on most images.

Images 007 and 008 show nothing of split 1's novel classes, so that base training has tiles to see.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

TRAIN, TEST = ("002", "004", "007", "008"), ("003", "005")
WITHOUT_NOVEL, NOVEL = ("007", "008"), (0, 3, 4)
SIDE_PX = 18


def make_miniature(root: Path) -> Path:
    """Images of the shipped lists, 160x128 px, objects told apart by colour."""
    rng = np.random.default_rng(0)
    pictures, truths = root / "positive image set", root / "ground truth"
    pictures.mkdir(parents=True)
    truths.mkdir()
    hues = np.array([[[18 * c, 220, 230] for c in range(10)]], np.uint8)
    colours = cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)[0]
    for stem in (*TRAIN, *TEST):
        rgb = rng.integers(60, 110, (128, 160, 3)).astype(np.uint8)
        lines = []
        for n in range(20):
            c = n % 10
            if stem in WITHOUT_NOVEL and c in NOVEL:
                continue
            x, y = 6 + 31 * (n % 5) + int(rng.integers(6)), 6 + 31 * (n // 5) + int(rng.integers(6))
            rgb[y : y + SIDE_PX, x : x + SIDE_PX] = colours[c]
            lines.append(f"({x},{y}),( {x + SIDE_PX},{y + SIDE_PX}),{c + 1} \n")
        Image.fromarray(rgb).save(pictures / f"{stem}.jpg", quality=95)
        (truths / f"{stem}.txt").write_text("".join(lines) + "\n")
    return root
