from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from experiments.nwpu_fewshot.baselines import BASELINES, YoloHeader, ordinary
from experiments.nwpu_fewshot.bench import open_bench, pretraining
from experiments.nwpu_fewshot.ordinary import FAMILIES, OrdinaryScenes
from experiments.nwpu_fewshot.plain import base_tiles, train_on_shots, with_rows
from experiments.nwpu_fewshot.run import main, system_of
from experiments.nwpu_fewshot.yolo import Yolo, YoloDetector, with_classes, yolo_loss
from experiments.records import read_records
from fsod.config import EpisodeSettings
from fsod.config_file import load_settings
from fsod.data.real_episodes import Episode, RealEpisodes
from fsod.errors import UserError
from fsod.model.detector import Detector, unit_pixels
from fsod.store.checkpoint import read_safetensors
from tests.made_folder import make_folder

SIZES = EpisodeSettings(ways=3, shots=1, queries=2, query_px=64, support_px=64)


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    folder = make_folder(tmp_path_factory.mktemp("made") / "folder")
    return RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0, known_margin=0.2, with_supports=False)[0]


def yolo(classes: int = 3) -> Yolo:
    torch.manual_seed(0)
    return Yolo(classes, torch.float32)


def test_the_yolo_has_the_size_of_the_detector_without_its_encoder() -> None:
    ours = sum(p.numel() for name, p in Detector("nano", 10).named_parameters() if not name.startswith("encoder"))
    assert sum(p.numel() for p in Yolo(10, torch.float32).parameters()) == pytest.approx(ours, rel=0.05)


def test_boxes_are_decoded_as_ultralytics_does(episode: Episode) -> None:
    network = yolo().eval()
    images = unit_pixels(episode.queries)
    with torch.no_grad():
        own = network.model(images)[0]
        said = network(images)
        boxes, scores = network.boxes(said), said["scores"].sigmoid()
    centres, sides = own[:, :2], own[:, 2:4]
    corners = torch.cat([centres - sides / 2, centres + sides / 2], 1)
    torch.testing.assert_close(boxes.transpose(1, 2), corners, atol=1e-3, rtol=1e-5)  # pixels of 64
    torch.testing.assert_close(scores, own[:, 4:])


def test_the_yolo_learns_no_background_where_nothing_is_labelled(episode: Episode) -> None:
    network = yolo().train()
    nothing = replace(
        episode,
        box_classes=torch.full_like(episode.box_classes, -1),
        known_xyxy_px=torch.zeros_like(episode.known_xyxy_px),
    )
    everything = replace(nothing, known_xyxy_px=torch.tensor([[[0.0, 0, 64, 64]]] * 2))
    assert yolo_loss(network, nothing, [0, 1, 2], shots_only=False)["cls"] == 0
    assert yolo_loss(network, everything, [0, 1, 2], shots_only=False)["cls"] > 0
    shots = replace(episode, known_xyxy_px=nothing.known_xyxy_px)
    assert all(value > 0 for value in yolo_loss(network, shots, [0, 1, 2], shots_only=False).values())


def test_rows_of_known_classes_move_to_their_new_place() -> None:
    old, new = ("ship", "bridge"), ("plane", "bridge", "ship")
    detector = Detector("nano", 2)
    wider = with_rows(detector, "nano", old, new, seed=0)
    for row, own in zip(wider.learned, detector.learned, strict=True):
        torch.testing.assert_close(row[[2, 1]], own)
        torch.testing.assert_close(row[0].norm(), own.norm(dim=1).mean())
    torch.testing.assert_close(wider.head.log_norm, detector.head.log_norm)
    network = yolo(2)
    for layer, mine in zip(with_classes(network, old, new, seed=0).class_layers, network.class_layers, strict=True):
        for value, trained in zip(layer.parameters(), mine.parameters(), strict=True):
            torch.testing.assert_close(value[[2, 1]], trained)


def test_ordinary_scenes_have_the_same_classes_in_all_images() -> None:
    scenes = OrdinaryScenes(SIZES, 4, 0, frozenset())
    one, other = scenes[0], scenes[1]
    assert one.class_ids.tolist() == other.class_ids.tolist() == list(range(FAMILIES))
    assert one.supports.shape[:2] == (FAMILIES, 0)
    seen = torch.cat([scenes[i].box_classes.flatten() for i in range(4)])
    assert len(seen[seen >= 0].unique()) > SIZES.ways
    again = OrdinaryScenes(SIZES, 4, 0, frozenset())[1]
    assert torch.equal(again.queries, other.queries)


def test_base_tiles_show_nothing_novel(run: Path) -> None:
    bench = open_bench(load_settings(run, ["data.train_list=train_strict"]), 1)
    novel = bench.tiles.class_names.index("cross")
    assert len(bench.tiles.images) == 4
    assert len(base_tiles(bench).images) == 2
    assert all(novel not in tile.class_ids for tile in base_tiles(bench).images)


def test_baselines_run_and_keep_their_base_stage(run: Path, tmp_path: Path) -> None:
    results, systems = tmp_path / "results.json", ["enroll-only (pretrained)", *BASELINES]
    main(["--config", str(run), "--systems", *systems, "--shots", "1", "--seeds", "0", "--results", str(results)])
    records = {r["system"]: r for r in read_records(results)}
    assert set(records) == set(systems)
    for record in records.values():
        assert 0 <= record["novel_map50"] <= 1
        assert set(record["per_class"]) == {"square", "disc", "cross"}
    assert (run.parent / "run" / "study" / "baseline-YOLO" / "base.safetensors").is_file()


def test_a_baseline_keeps_a_share_of_its_base_as_the_product_does(run: Path, tmp_path: Path) -> None:
    bench = open_bench(load_settings(run, ["data.train_list=train_strict", "finetune.keep=1"]), 1)
    names = (*bench.base, *bench.novel)
    base = yolo(len(bench.base))
    ids, start = bench.train.class_indices(names), with_classes(base, bench.base, names, seed=0)
    before = copy.deepcopy(start.state_dict())
    loss_of = partial(yolo_loss, row_classes=ids, shots_only=True)
    tuned = train_on_shots(bench, base, start, loss_of, bench.shots(1, 0), tmp_path)
    for name, value in base.state_dict().items():
        if value.ndim:
            torch.testing.assert_close(tuned.state_dict()[name][: len(value)], value)
    moved = [name for name, value in tuned.state_dict().items() if value.ndim and not torch.equal(value, before[name])]
    assert moved
    assert all(".cv3." in name for name in moved)  # rows of the new class alone


def test_drawn_images_are_learned_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = open_bench(load_settings(run, ["data.train_list=train_strict"]), 1)
    base_file = tmp_path / "base.safetensors"
    ordinary(bench, pretraining(bench), base_file)
    made = base_file.read_bytes()
    base_file.unlink()  # as if the photographs had not been learned to the end
    monkeypatch.setattr("experiments.nwpu_fewshot.baselines.OrdinaryScenes", None)
    ordinary(bench, pretraining(bench), base_file)
    assert base_file.read_bytes() == made


def test_nothing_kept_shares_the_base_stage(run: Path, tmp_path: Path) -> None:
    bench = open_bench(load_settings(run, ["data.train_list=train_strict", "finetune.keep=0.25"]), 1)
    shots, tuned = bench.shots(1, 0), []
    for system in ("baseline YOLO", "baseline YOLO, nothing kept"):
        learn, file = system_of(system, bench, [])
        detect = learn(shots, tmp_path / system).detect
        assert isinstance(detect, YoloDetector)
        tuned.append(detect.network.state_dict())
    for name, value in read_safetensors(file, YoloHeader)[0].items():
        if value.ndim:
            some, nothing = (state[name][: len(value)] for state in tuned)
            torch.testing.assert_close(some, torch.lerp(nothing, value, 0.25))


def test_what_needs_a_pretraining_says_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="init: the run starts from chance"):
        main(
            ["--config", str(run), "--set", "init=null", "--systems", "baseline YOLO", "--results", str(tmp_path / "r")]
        )
