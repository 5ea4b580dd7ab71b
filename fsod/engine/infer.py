"""From pixels to detections: the function that evaluation and scenes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from fsod.boxes import Detections, nms
from fsod.config import EvaluateSettings
from fsod.engine.device import Machine
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows
from fsod.store.checkpoint import Checkpoint
from fsod.store.class_bank import ClassBank

GREY = 114 / 255
BEFORE_NMS = 3000  # boxes an image that go into non-maximum suppression, best first


@dataclass(frozen=True)
class BatchDetector:
    """A detector with its classes, ready to be shown batches of images.

    Attributes:
        detector: in evaluation mode, on the machine's device.
        rows: of the enrolled classes; a detection's class id is a position in them.
        machine: device and precision.
        score_floor: detections below this are dropped.
        settings: suppression thresholds and the most detections an image.
    """

    detector: Detector
    rows: ClassRows
    machine: Machine
    score_floor: float
    settings: EvaluateSettings

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB of any size -> one Detections an image, in its pixel frame, best first."""
        height, width = images.shape[1:3]
        batch = torch.from_numpy(images).to(self.machine.device).permute(0, 3, 1, 2).float() / 255
        batch = pad(batch, (0, -width % 32, 0, -height % 32), value=GREY)
        predictions = self.detector(batch, self.rows)
        scores = predictions.log_scores().exp()
        boxes = predictions.boxes_xyxy_px
        size = boxes.new_tensor([width, height, width, height])
        return [self._settle(s, b.clamp(min=0).minimum(size)) for s, b in zip(scores, boxes, strict=True)]

    def _settle(self, scores: torch.Tensor, boxes: torch.Tensor) -> Detections:
        """Scores (N, L) and boxes (L, 4) of one image -> what remains after all suppression."""
        scores = scores * ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        best = scores.flatten().topk(min(BEFORE_NMS, scores.numel()))
        best_index = best.indices[best.values >= self.score_floor]
        class_id, location = best_index // scores.shape[1], best_index % scores.shape[1]
        found = Detections(
            boxes[location].double().cpu().numpy(), scores[class_id, location].cpu().numpy(), class_id.cpu().numpy()
        )
        found = nms(found, self.settings.nms_iou)
        # meta-cross category decision: where boxes of two classes overlap almost wholly, the better supported stays
        found = nms(found, self.settings.rival_iou, across_classes=True)
        order = np.argsort(-found.scores, kind="stable")[: self.settings.max_detections]
        return found.select(order)


def batch_detector(
    checkpoint: Checkpoint, bank: ClassBank, machine: Machine, settings: EvaluateSettings, score_floor: float
) -> BatchDetector:
    """The checkpoint's detector with a bank's classes, on the machine."""
    detector = checkpoint.detector.to(machine.device).eval()
    detector.trunk_dtype = machine.trunk_dtype
    rows = ClassRows([kernel.to(machine.device) for kernel in bank.rows.kernels], bank.rows.biases.to(machine.device))
    return BatchDetector(detector, rows, machine, score_floor, settings)
