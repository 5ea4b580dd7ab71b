"""From pixels to detections: the function that evaluation and scenes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from fsod.boxes import Detections, best_of_rivals, nms
from fsod.compute.device import Machine
from fsod.compute.side_by_side import side_by_side
from fsod.config import EvaluateSettings
from fsod.errors import UserError
from fsod.inference.several_looks import look_around
from fsod.model.baked import bake
from fsod.model.turned import Turned
from fsod.store.checkpoint import Checkpoint
from fsod.store.class_bank import ClassBank

GREY = 114 / 255
BEFORE_NMS = 3000  # boxes per image that go into non-maximum suppression, best first


@dataclass(frozen=True)
class BatchDetector:
    """A detector with its classes, ready to be shown batches of images.

    Attributes:
        network: from images to boxes and scores as ``BakedDetector``, on the machine's device; a detection's class id is
            the position of a row in it.
        machine: device and precision.
        score_floor: detections below this are dropped; one number, or one per class.
        settings: suppression thresholds and the most detections per image.
        around: look at each image several times, turned and at several sizes, see ``fsod.inference.several_looks``.
        class_ids: of the classes that are looked for; None: all of them.
        filled_to: (B, H, W) that smaller batches are filled up to, as a GPU chooses its kernels anew for each shape; None: none.
    """

    network: nn.Module
    machine: Machine
    score_floor: float | tuple[float, ...]
    settings: EvaluateSettings
    around: bool = False
    class_ids: tuple[int, ...] | None = None
    filled_to: tuple[int, int, int] | None = None

    def asked_for(self, class_ids: tuple[int, ...]) -> BatchDetector:
        """The same detector, as if it had no other classes."""
        return replace(self, class_ids=class_ids)

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB of any size -> one Detections an image, in its pixel frame, best first."""
        whole = images if self.filled_to is None else filled(images, self.filled_to)
        found = side_by_side(self._detect, whole) if self.machine.device.type == "cpu" else self._detect(whole)
        return found[: len(images)]

    def _detect(self, images: NDArray[np.uint8]) -> list[Detections]:
        if self.around:
            return look_around(self._look, images, self.score_floor, self.settings)
        return self._look(images, self.score_floor)

    @torch.inference_mode()
    def _look(self, images: NDArray[np.uint8], score_floor: float | tuple[float, ...]) -> list[Detections]:
        boxes, scores = self.network(to_batch(images, self.machine.device, self.machine.trunk_dtype))
        return postprocess(boxes, scores, images.shape[1:3], score_floor, self.settings, self.class_ids)


def warm_up(detect: Callable[[NDArray[np.uint8]], list[Detections]], batch: int, window_px: int) -> None:
    """Has memory taken and kernels chosen for one shape of batches, the only one to come."""
    torch.backends.cudnn.benchmark = True
    detect(np.zeros((batch, window_px, window_px, 3), np.uint8))


def filled(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(b, h, w, 3) -> (B, H, W, 3) with 0 at the right and bottom and in further images; larger ones stay as they are."""
    missing = [max(0, wanted - have) for wanted, have in zip(shape, images.shape[:3], strict=True)]
    return np.pad(images, [*((0, more) for more in missing), (0, 0)])


def to_batch(images: NDArray[np.uint8], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H', W') in 0..1 on the device, padded with grey to multiples of 32."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))  # torch has no negative strides
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    batch = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).to(dtype).div_(255)  # bytes travel, floats do not
    padding = (0, -images.shape[2] % 32, 0, -images.shape[1] % 32)
    return pad(batch, padding, value=GREY) if any(padding) else batch


def postprocess(
    boxes_xyxy_px: Tensor,
    scores: Tensor,
    size_px: tuple[int, int],
    score_floor: float | tuple[float, ...],
    settings: EvaluateSettings,
    class_ids: tuple[int, ...] | None = None,
) -> list[Detections]:
    """What remains of a network's output after all suppression, one Detections an image, best first.

    Args:
        boxes_xyxy_px: (B, L, 4) float32.
        scores: (B, N, L) float32.
        size_px: height and width of the images; boxes are cut to them.
        score_floor: detections below this are dropped; one number, or one per class.
        settings: suppression thresholds and the most detections per image.
        class_ids: of the classes that count, others suppress nothing; None: all of them.

    Raises:
        UserError: scores or boxes that are no numbers, which would pass for "nothing found".
    """
    if not (torch.isfinite(scores).all() and torch.isfinite(boxes_xyxy_px).all()):
        raise UserError(
            "the network gave scores or boxes that are not numbers (NaN): its weights are damaged or have diverged, or the "
            "device computes wrongly; train or enroll again, or try --precision float32"
        )
    height, width = size_px
    floor = scores.new_tensor(score_floor).reshape(-1, 1)
    boxes = boxes_xyxy_px.clamp(min=0).minimum(boxes_xyxy_px.new_tensor([width, height, width, height]))
    asked = torch.ones(scores.shape[1], 1, dtype=torch.bool, device=scores.device)
    if class_ids is not None:
        asked[:] = False
        asked[list(class_ids)] = True
    return [_postprocess_image(b, s, floor, asked, settings) for b, s in zip(boxes, scores, strict=True)]


def _postprocess_image(
    boxes: Tensor, scores: Tensor, floor: Tensor, asked: Tensor, settings: EvaluateSettings
) -> Detections:
    """The same for boxes (L, 4), scores (N, L), floors (N or 1, 1) and whether a class is asked for (N, 1), of one image."""
    counts = asked & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    scores = scores * counts
    likely = torch.nonzero((counts & (scores >= floor)).flatten())[:, 0]  # few of many, so that few need sorting
    if not len(likely) and scores.numel():
        top = int(scores.argmax())
        return replace(Detections.empty(), missed=(float(scores.flatten()[top]), top // scores.shape[1]))
    best = scores.flatten()[likely].sort(descending=True, stable=True).indices[:BEFORE_NMS]
    class_id, location = likely[best] // scores.shape[1], likely[best] % scores.shape[1]
    found = Detections(
        # widened on the CPU: Apple's GPUs have no float64
        boxes[location].cpu().double().numpy(),
        scores[class_id, location].cpu().numpy(),
        class_id.cpu().numpy(),
    )
    found = nms(found, settings.nms_iou)
    # meta-cross category decision: where boxes of two classes overlap almost wholly, the better supported stays
    return best_of_rivals(found, settings.rival_iou, settings.max_detections)


def batch_detector(
    checkpoint: Checkpoint, bank: ClassBank, machine: Machine, settings: EvaluateSettings, score_floor: float | None
) -> BatchDetector:
    """The inference form of the checkpoint's detector with a bank's classes, on the machine.

    A detection's class id is a position among the classes that the bank reports; without ``score_floor`` the bank's own
    scores apply.
    """
    around = bank.turned and bank.sized
    network = bank_network(checkpoint, replace(bank, turned=False) if around else bank, machine)
    floor = bank.reported.scores if score_floor is None else score_floor
    return BatchDetector(network, machine, floor, settings, around)


def bank_network(checkpoint: Checkpoint, bank: ClassBank, machine: Machine) -> nn.Module:
    """From images to boxes and scores of the classes that a bank reports, turned if the bank asks for it."""
    rows, distractors = bank.reported.rows.to(machine.device), bank.distractors.to(machine.device)
    network = bake(checkpoint.detector.to(machine.device), rows, machine.trunk_dtype, distractors)
    return Turned(network) if bank.turned else network
