"""An ultralytics YOLO in fsod's loop: its network, assignment and loss; our crops, optimiser, decoding and suppression.

Its own trainer imports torchvision, which may be missing or broken, and knows nothing of boxes that are not labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import ultralytics
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import YAML
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import make_anchors

from fsod.boxes import Detections
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.real_episodes import Episode
from fsod.inference.infer import postprocess, to_batch
from fsod.loss.assign import Targets
from fsod.loss.meta_loss import shots_background
from fsod.model.detector import unit_pixels
from fsod.training.episode_loss import known_background, targets_of

MODEL, WIDTH = "11/yolo11.yaml", 0.1875  # 1.57 M parameters; fsod's nano has as many and 0.18 M in its support encoder
BINS = 16
GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)  # ultralytics' own


class Yolo(nn.Module):
    """YOLO11 at less than nano's width, from scratch.

    Args:
        classes: rows of its class branch.
        dtype: precision of the convolutions; the loss is always float32.
    """

    def __init__(self, classes: int, dtype: torch.dtype) -> None:
        super().__init__()
        content = YAML.load(Path(ultralytics.__file__).parent / "cfg" / "models" / MODEL)
        depth, _, most = content["scales"]["n"]
        content |= {"nc": classes, "scale": "n", "scales": {"n": [depth, WIDTH, most]}}
        self.model = DetectionModel(content, ch=3, nc=classes, verbose=False)
        self.model.args = GAINS
        self.dtype = dtype

    def forward(self, images: Tensor) -> dict[str, Any]:
        """(B, 3, H, W) float in 0..1 -> boxes (B, 64, L), scores (B, N, L) and a list feats, all raw and float32."""
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            said = self.model(images.contiguous(memory_format=torch.channels_last))
        raw = said if self.training else said[1]  # its own decoding would be in the convolutions' precision
        feats = [level_map.float() for level_map in raw["feats"]]
        return {"boxes": raw["boxes"].float(), "scores": raw["scores"].float(), "feats": feats}

    def boxes(self, said: dict[str, Any]) -> Tensor:
        """What it said as boxes (B, L, 4) in pixels, each side the mean of its distribution over whole strides."""
        points, strides = make_anchors(said["feats"], self.model.stride, 0.5)
        bins = torch.arange(BINS, device=points.device, dtype=torch.float32)
        sides = (said["boxes"].unflatten(1, (4, BINS)).softmax(2) * bins[:, None]).sum(2).transpose(1, 2)  # ltrb
        return torch.cat([points - sides[..., :2], points + sides[..., 2:]], 2) * strides

    def points_xy_px(self, said: dict[str, Any]) -> Tensor:
        """Centres (L, 2) of the locations of what it said."""
        points, strides = make_anchors(said["feats"], self.model.stride, 0.5)
        return points * strides

    @property
    def class_layers(self) -> list[nn.Conv2d]:
        """The last convolution of each level's class branch."""
        return [branch[-1] for branch in self.model.model[-1].cv3]


def yolo_loss(network: Yolo, episode: Episode, row_classes: list[int], *, shots_only: bool) -> dict[str, Tensor]:
    """Loss terms of ultralytics; background is learned where fsod learns it.

    Args:
        network: in training mode.
        episode: its queries; boxes of classes that have no row are nothing, which base tiles and shot lists do not have.
        row_classes: class ids in the order of the rows.
        shots_only: see ``fsod.training.episode_loss.shots_loss``.
    """
    said = network(unit_pixels(episode.queries))
    rows = torch.tensor(row_classes, device=episode.box_classes.device)
    targets = targets_of(episode.boxes_xyxy_px, episode.box_classes, rows)
    boxes = network.boxes(said)
    known = known_background(episode, boxes, network.points_xy_px(said))
    if shots_only:
        background = shots_background(boxes, targets, len(row_classes), known)
    else:
        background = known[:, None].expand(-1, len(row_classes), -1)
    return said_loss(network, said, targets, background)


def said_loss(network: Yolo, said: dict[str, Any], targets: Targets, background: Tensor) -> dict[str, Tensor]:
    """Loss terms of ultralytics for what a network said.

    Args:
        network: in training mode.
        said: of B square images.
        targets: their boxes; one without a row is nothing.
        background: (B, N, L) bool, where a row's background may be assumed.
    """
    criterion = v8DetectionLoss(network.model)
    criterion.bce = _KnownOnly(background.transpose(1, 2))
    image, box = (targets.rows >= 0).nonzero(as_tuple=True)
    side_px = said["feats"][0].shape[-1] * float(network.model.stride[0])
    corners = targets.boxes_xyxy_px[image, box] / side_px
    batch = {
        "batch_idx": image.float(),
        "cls": targets.rows[image, box].float(),
        "bboxes": torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1),
    }
    terms, _ = criterion.loss(said, batch)
    terms = terms / len(background)  # ultralytics sums over the batch
    return {"total": terms.sum(), **dict(zip(("box", "cls", "dfl"), terms.detach(), strict=True))}


class _KnownOnly(nn.Module):
    """Binary cross-entropy that says nothing where a row's object may be unlabelled; known: (B, L, N) bool."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.known = known

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """(B, L, N) logits and targets -> (B, L, N)."""
        loss = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return loss * (self.known | (targets > 0).any(-1, keepdim=True))


def with_classes(network: Yolo, old: tuple[str, ...], new: tuple[str, ...], seed: int) -> Yolo:
    """The network with rows for the classes ``new``: its own for those of ``old``, others from chance."""
    torch.manual_seed(seed)
    other = Yolo(len(new), network.dtype).to(next(network.parameters()).device)
    fresh, state = other.state_dict(), network.state_dict()
    other.load_state_dict(
        {name: state[name] if state[name].shape == fresh[name].shape else fresh[name] for name in fresh}
    )
    kept = [name for name in new if name in old]
    to, source = [new.index(name) for name in kept], [old.index(name) for name in kept]
    with torch.no_grad():
        for layer, own in zip(other.class_layers, network.class_layers, strict=True):
            for value, trained in zip(layer.parameters(), own.parameters(), strict=True):
                value[to] = trained[source]
    return other


@dataclass(frozen=True)
class YoloDetector:
    """A trained network, ready to be shown batches of images, suppressed as fsod's own detections are."""

    network: Yolo
    machine: Machine
    settings: EvaluateSettings

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB of any size -> one Detections an image, in its pixel frame, best first."""
        said = self.network(to_batch(images, self.machine.device))
        boxes, scores = self.network.boxes(said), said["scores"].sigmoid()
        return postprocess(boxes, scores, images.shape[1:3], self.settings.score_floor, self.settings)
