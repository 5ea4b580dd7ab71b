"""Takes pictures of the dashboard over a folder of runs: experiments, runs of one, a run's charts, its artifacts.

    python -m experiments.dashboard_pictures.take --runs runs --experiment "synthetic demo"

Needs Chromium. What a picture would show of this machine's paths is cut to what lies below the working folder.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from contextlib import AbstractContextManager, closing, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from PIL import Image
from playwright.sync_api import Page

from experiments.page_pictures import address_of, browser_page, webp_within

OUT = Path(__file__).parent
MOST_BYTES = 150_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of mlflow.db")
    parser.add_argument("--experiment", default="synthetic demo", help="what the experiment's name begins with")
    parser.add_argument("--address", help="of a dashboard that is up already")
    options = parser.parse_args()
    database = options.runs / "mlflow.db"
    experiment, run, picture = newest_training(database, options.experiment)
    with dashboard(database, options.address) as address, browser_page() as page:
        runs = f"{address}/#/experiments/{experiment}/runs"
        take(page, f"{address}/#/experiments", "a[href*='/experiments/']", OUT / "experiments.webp")
        take(page, runs, "a[href*='/runs/']", OUT / "runs.webp", press="button[data-component-id*=runnamecell]")
        curves = newest_meta_training(database, experiment)
        take(page, f"{runs}/{curves}/model-metrics", "svg.main-svg", OUT / "charts.webp")
        take(page, f"{runs}/{run}/artifacts/{picture}", "img[src^='blob:'], img[src^='data:']", OUT / "artifacts.webp")


def newest_training(database: Path, experiment: str) -> tuple[str, str, str]:
    """Ids of an experiment and of its newest finetuning, one that is evaluated if there is one, and its best picture."""
    query = """
        SELECT runs.experiment_id, run_uuid, artifact_uri,
          EXISTS (SELECT 1 FROM metrics m WHERE m.run_uuid = runs.run_uuid AND m.key LIKE 'AP/%') AS evaluated
        FROM runs JOIN experiments USING (experiment_id)
        WHERE experiments.name LIKE ? AND runs.lifecycle_stage = 'active' AND runs.status = 'FINISHED'
          AND EXISTS (SELECT 1 FROM metrics m WHERE m.run_uuid = runs.run_uuid AND m.key LIKE 'loss/%')
        ORDER BY evaluated DESC, runs.end_time DESC
    """
    for experiment_id, run, artifacts, _ in rows(database, query, f"%{experiment}%"):
        for picture in ("pictures/found.jpg", "pictures/support.png"):
            if (Path(unquote(urlparse(artifacts).path)) / picture).is_file():
                return str(experiment_id), str(run), picture
    sys.exit(f"{database}: no finetuning with pictures in an experiment like {experiment!r}; run `make demo`")


def newest_meta_training(database: Path, experiment_id: str) -> str:
    """Its id: a run that has curves, where a finetuning opens with its scores."""
    query = """
        SELECT run_uuid FROM runs JOIN tags USING (run_uuid)
        WHERE experiment_id = ? AND tags.key = 'stage' AND tags.value = 'meta-train' AND status = 'FINISHED'
        ORDER BY end_time DESC
    """
    for (run,) in rows(database, query, experiment_id):
        return str(run)
    sys.exit(f"{database}: no finished meta-training in experiment {experiment_id}; run `make demo`")


def rows(database: Path, query: str, value: str) -> list[tuple[Any, ...]]:
    """What a query with one value finds."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query, (value,)).fetchall()


def dashboard(database: Path, address: str | None) -> AbstractContextManager[str]:
    """The address of a dashboard over the database."""
    if address is not None:
        return nullcontext(address)
    command = [sys.executable, "-m", "fsod", "dashboard", "--database", str(database)]
    return address_of(command, r"dashboard: (http://[\d.:]+)")


def take(page: Page, url: str, awaited: str, path: Path, press: str | None = None) -> None:
    """Opens an address, waits for what it is about to be there, presses something if it is named, writes the picture."""
    page.goto(f"{url}?workflowType=machine_learning")
    page.locator(awaited).first.wait_for()
    if (assistant := page.get_by_role("button", name="Close")).count():
        assistant.first.click()  # MLflow offers a chat on the first visit
    if press is not None:
        page.locator(press).first.click()
    page.wait_for_timeout(5000)  # charts unfold
    cut_paths(page, [Path.cwd(), Path.home()])
    path.write_bytes(webp_within(Image.open(BytesIO(page.screenshot())), MOST_BYTES))
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def cut_paths(page: Page, folders: list[Path]) -> None:
    """Cuts folders of this machine out of all text on the page, and makes sure that none is left."""
    for folder in map(str, folders):
        page.evaluate(
            """folder => {
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                while (texts.nextNode()) {
                    const text = texts.currentNode;
                    if (text.data.includes(folder)) text.data = text.data.replaceAll(folder + "/", "").replaceAll(folder, "");
                }
            }""",
            folder,
        )
        if folder in page.locator("body").inner_text():
            sys.exit(f"{page.url}: shows {folder}")


if __name__ == "__main__":
    main()
