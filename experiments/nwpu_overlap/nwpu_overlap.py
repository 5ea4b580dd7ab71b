"""Which images of NWPU VHR-10 show the same ground, held against a list that was found otherwise.

    .venv/bin/fsod data prepare nwpu /path/to/nwpu_vhr10 data/nwpu
    .venv/bin/python experiments/nwpu_overlap/nwpu_overlap.py data/nwpu /path/to/nwpu_vhr10/splits/overlapping_scenes.txt

The list was made by others: image numbers of the same ground, a group a line. Writes results.json beside this file, and
with a folder as third argument a sheet of the pairs that are not listed, each as first image, first laid on second,
second. ``looked_at.json`` holds what a person saw on these sheets.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from data_prep.entries import read_entries, read_lists
from data_prep.looks import compare_scenes, find_leaks, look_at_images
from fsod.data.coco_folder import read_ids, read_rgb, write_json
from fsod.draw import contact_sheet, write_png

HERE = Path(__file__).parent


def main(root: Path, listed_file: Path, sheets: Path | None = None) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    looks, _ = look_at_images(root, read_entries(root)["images"], [])
    described = time.perf_counter() - started
    overlaps, groups, _ = compare_scenes(looks)
    seconds = {
        "images_read_and_described": described,
        "scenes_compared": time.perf_counter() - started - described,
        "cpu": time.process_time() - cpu,
    }
    leaks = list(find_leaks(looks, overlaps, read_lists(root)))
    listed = [line.split() for line in read_ids(listed_file)]
    listed_pairs = {pair for group in listed for pair in combinations(sorted(group), 2)}
    found = {(looks[o.first].stem, looks[o.second].stem): o for o in overlaps}
    others = [pair for pair in found if pair not in listed_pairs]
    seen = json.loads((HERE / "looked_at.json").read_text())
    same, different = ({tuple(pair.split()) for pair in seen[key]} for key in ("same_ground", "other_ground"))
    write_json(
        HERE / "results.json",
        {
            "images": len(looks),
            "seconds": {key: round(value, 1) for key, value in seconds.items()},
            "pairs": len(found),
            "groups": groups,
            "images_in_groups": sum(map(len, groups)),
            "listed_groups": len(listed),
            "listed_groups_found_whole": sum(any(set(group) <= set(other) for other in groups) for group in listed),
            "listed_pairs": len(listed_pairs),
            "listed_pairs_found": len(listed_pairs & found.keys()),
            "pairs_not_listed": len(others),
            "of_these_the_same_ground_to_the_eye": len(same.intersection(others)),
            "of_these_other_ground_to_the_eye": len(different.intersection(others)),
            "precision": round(1 - len(different.intersection(others)) / len(found), 3),
            "evidence_of_the_weakest_listed_pair": round(
                min(o.evidence for p, o in found.items() if p in listed_pairs), 1
            ),
            "leaks": [f"{leak.where}: {leak.what}" for leak in leaks],
        },
    )
    for at in range(0, len(others) if sheets else 0, 18):
        pictures, captions = [], []
        for pair in others[::-1][at : at + 18]:
            overlap = found[pair]
            first, second = (read_rgb(looks[i].path) for i in (overlap.first, overlap.second))
            laid = cv2.warpAffine(first, overlap.similarity, (second.shape[1], second.shape[0]))
            pictures += [first, np.asarray(laid, np.uint8), second]
            captions += [pair[0], f"{overlap.inliers} fit, r {overlap.correlation:.2f}", pair[1]]
        if sheets:
            write_png(sheets / f"pairs_{at // 18}.png", contact_sheet(pictures, captions, 6, 260))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
