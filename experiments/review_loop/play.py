"""Plays an analyst at the page of `fsod review`: twenty verdicts by keyboard, a drawn box, Learn, and the new detections.

    .venv/bin/python -m experiments.review_loop.play --only cars_kit

The detector that it begins with comes from ten marks on the support scene of a task; one that OUT has is not made again. The
analyst judges that scene, in the order of the wall, and says the truth: yes where a true object overlaps the box by IoU 0.5, else no.
Then it draws the first object that no detection overlaps, if there is one, and presses Learn. F1 is measured on the task's test
scenes, before and after.

The record goes to results.json and the pictures to loop.webp, beside this file. Needs Chromium.
"""

from __future__ import annotations

import shutil
import sys
import time
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from experiments.page_pictures import address_of, browser_page, webp_within
from experiments.real_tasks.analyst import TRUE_IOU
from experiments.real_tasks.tool import (
    Marks,
    Task,
    corners_of,
    load_tool,
    open_tasks,
    options_of,
    scores_of,
    write_marks,
)
from experiments.records import Record, commit
from experiments.review_loop.record import PICTURES, keep
from fsod.boxes import iou
from fsod.errors import UserError

VERDICTS = 20
MISSED_IOU = 0.1
NEAR_PX = 80
"""Side of a missed object in the window before it is drawn."""
"""A true object that no detection overlaps more was missed."""

PATIENCE_MS = 3_600_000
STRIP_PX = 1000, 625
"""Of a picture in the strip, two of which stand side by side."""

MOST_BYTES = 300_000


def play(
    tool: ModuleType, task: Task, fsod: str, made: Marks, work: Path, minutes: float, taken: list[Image.Image]
) -> Record:
    """One way round the loop on one task."""
    bank, layer = work / "start.safetensors", work / "found.gpkg"
    area = [] if made.area is None else ["--area", made.area]
    if not bank.exists():
        given = ["--scene", made.scene, "--examples", made.examples, *area, "--minutes", minutes]
        tool.run(fsod, "finetune", *given, "--out", bank)
    for path in work.glob("found*"):
        path.unlink()
    tool.run(fsod, "predict", made.scene, "--bank", bank, "--out", layer)
    before = measure(tool, task, fsod, bank, work)
    truth = corners_of(task.boxes(task.support))
    command = [fsod, "review", str(layer), "--scene", str(made.scene)]
    with address_of(command, r"review: (\S+)") as address, browser_page() as page:
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.wait_for_selector("body[data-ready]", state="attached")
        said = judge(page, truth)
        taken.append(picture_of(page))
        drawn = draw_missed(page, truth)
        taken.append(picture_of(page))
        learned = learn(page, minutes, taken)
    after = measure(tool, task, fsod, layer.with_name("found-2.detector.safetensors"), work)
    return {**said, "drawn": drawn, **learned, "before": before, "after": after}


def measure(tool: ModuleType, task: Task, fsod: str, bank: Path, work: Path) -> Record:
    """What the task's tool says of a detector on the test scenes."""
    everything, _ = tool.predict(fsod, task, bank, work / "all", "--score", 0.01)
    shown, _ = tool.predict(fsod, task, bank, work / "shown")
    return scores_of(tool, task, everything, shown)


def judge(page: Page, truth_xyxy_px: NDArray[np.float64]) -> Record:
    """Twenty verdicts; each takes from the key to the server's answer, which comes when it is in the file."""
    found = boxes(page)
    took, yes = [], 0
    for _ in range(min(VERDICTS, len(found))):
        box = found[int(page.locator(".chip.current").get_attribute("data-id") or 0)]
        is_one = iou(box[None], truth_xyxy_px).max(initial=0) >= TRUE_IOU
        start = time.perf_counter()
        page.keyboard.press("y" if is_one else "n")
        settle(page)
        took.append(time.perf_counter() - start)
        yes += int(is_one)
    seconds = {"verdict_s": round(float(np.median(took)), 3), "slowest_verdict_s": round(max(took), 3)}
    return {"detections": len(found), "yes": yes, "no": len(took) - yes, **seconds}


def boxes(page: Page) -> dict[int, NDArray[np.float64]]:
    """Of all detections by id, in pixels of the scene."""
    layer: dict[str, Any] = page.evaluate("() => fetch('layer').then((answer) => answer.json())")
    return {one["id"]: np.array(one["box_xyxy_px"]) for one in layer["found"]}


def draw_missed(page: Page, truth_xyxy_px: NDArray[np.float64]) -> int:
    """Draws the first object that no detection overlaps; how many that are."""
    found = np.array(list(boxes(page).values())).reshape(-1, 4)
    missed = truth_xyxy_px[(iou(truth_xyxy_px, found) <= MISSED_IOU).all(axis=1)]
    if not len(missed):
        return 0
    box = missed[0]
    left, top, zoom = look_at(page, box)
    corners = [(left + x * zoom, top + y * zoom) for x, y in (box[:2], box[2:])]
    page.keyboard.press("d")
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=8)
    page.mouse.up()
    page.keyboard.press("d")
    settle(page)
    if len(boxes(page)) != len(found) + 1:
        raise RuntimeError("the page has not taken the drawn box")
    return 1


def look_at(page: Page, box_xyxy_px: NDArray[np.float64]) -> tuple[float, float, float]:
    """Zooms with the wheel to a place; where the scene's first pixel lies in the window then, and how large a pixel is."""
    page.keyboard.press("0")
    page.wait_for_timeout(500)
    frame = page.locator("#map").bounding_box()
    assert frame is not None
    width, height = page.evaluate("() => fetch('layer').then((answer) => answer.json())")["size_px"]
    zoom = min(frame["width"] / width, frame["height"] / height)
    left, top = frame["x"] + (frame["width"] - width * zoom) / 2, frame["y"] + (frame["height"] - height * zoom) / 2
    middle = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    x, y = left + middle[0] * zoom, top + middle[1] * zoom
    page.mouse.move(x, y)
    near = zoom
    while near * float((box_xyxy_px[2:] - box_xyxy_px[:2]).max()) < NEAR_PX:
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(400)
        near = float((page.locator("#zoom-value").text_content() or "").removesuffix(" %")) / 100
    return x - middle[0] * near, y - middle[1] * near, near


def learn(page: Page, minutes: float, taken: list[Image.Image]) -> Record:
    """Presses Learn and waits for the new detections."""
    page.locator("#minutes").fill(f"{minutes:g}")
    start = time.perf_counter()
    page.locator("#learn").click()
    page.wait_for_function("() => Number(document.querySelector('#bar').value) > 0.3")
    taken.append(picture_of(page))
    page.wait_for_function("() => document.querySelector('#message').textContent")
    news = page.locator("#message").text_content() or ""
    if "detections before" not in news:
        raise RuntimeError(news)
    took = time.perf_counter() - start
    taken.append(picture_of(page))
    return {"learn_s": round(took, 1), "news": news}


def settle(page: Page) -> None:
    """Waits until the server has answered everything."""
    page.wait_for_function("() => !Number(document.body.dataset.pending || 0)")


def picture_of(page: Page) -> Image.Image:
    """The page as it is, once everything on it has been drawn."""
    page.wait_for_timeout(1500)
    return Image.open(BytesIO(page.screenshot())).convert("RGB").resize(STRIP_PX, Image.Resampling.LANCZOS)


def strip(pictures: list[Image.Image]) -> bytes:
    """Pictures in rows of two, as a WebP that is small enough for a repository."""
    width, height = STRIP_PX
    gap = 12
    sheet = Image.new("RGB", (2 * width + gap, (len(pictures) + 1) // 2 * (height + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % 2 * (width + gap), i // 2 * (height + gap)))
    return webp_within(sheet, MOST_BYTES)


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--fsod", default=".venv/bin/fsod")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    options = parser.parse_args(arguments)
    if shutil.which("chromium") is None:
        raise UserError("chromium is not on the PATH (Debian: apt-get install chromium)")
    tool = load_tool(options.tool)
    for task in open_tasks(tool, options.tasks, options.only):
        for k in options.k:
            for marks in options.marks:
                for draw in options.draws:
                    work, taken = options.out / "review" / task.name / f"{marks}-k{k}-{draw}", list[Image.Image]()
                    made = write_marks(tool, task, marks, k, draw, work)
                    record = play(tool, task, options.fsod, made, work, options.minutes, taken)
                    keep(
                        f"{task.name} {marks} k={k} draw={draw}",
                        {"minutes": options.minutes, **record, "commit": commit()},
                    )
                    if task.name == "cars_kit":  # images of other tasks are not ours to show
                        PICTURES.write_bytes(strip(taken))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"review_loop: {error}")
