"""What ``import fsod`` gives: a detector to load, teach and run from Python, made of the steps that the commands are made of.

A detector is two files, as for the commands: weights, and a bank of classes for them (one file where all weights have
learned). What has no file yet lies in a temporary folder that goes with the object.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

import shapely

from fsod.boxes import Detections
from fsod.config import CLASS_ATTRIBUTE, WINDOW_PX, PredictSettings
from fsod.config_file import predict_settings
from fsod.errors import UserError
from fsod.files import atomic_write
from fsod.geo.raster_in_memory import IN_MEMORY, Pixels, is_in_memory
from fsod.geo.window_order import Limit
from fsod.steps.enroll_classes import enroll
from fsod.steps.given_boxes import Boxes
from fsod.steps.handed_over import File, Scene, examples_of, marks_of, named
from fsod.steps.predict_together import layer_of
from fsod.steps.scene_sayings import how_far, of_pixels
from fsod.steps.scene_search import search_scene
from fsod.steps.searcher import Searcher, load_searcher
from fsod.store.checkpoint import SHIPPED, CheckpointHeader, load_checkpoint, read_header, shown_to
from fsod.store.class_bank import ClassBank, checkpoint_of, is_checkpoint, load_bank, read_bank, save_bank

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

ONNX = ".onnx"
NOT_OF_A_PROGRAM = ("asset", "stac", "restart", "overwrite", "engine", "together", "pictures")
"""Settings of the command, which writes files."""

EITHER = (("minutes", "budget"), ("native", "gsd_m"))
"""Settings that contradict each other."""


class Detector:
    """Weights, and the classes that they find. It never changes: what teaches it returns another one.

    ``fsod.load`` makes it.

    Attributes:
        class_names: what it finds; a class id of ``Detections`` is a position in them. Empty before anything was enrolled.
        scores: the score from which each class is worth showing, 0..1, in the order of ``class_names``.
        gsd_m: ground size of a pixel that scenes are resampled to, in metres; None where unknown.
    """

    def __init__(
        self, weights: Path | None, bank: Path | None, known: ClassBank | None, kept: tuple[object, ...] = ()
    ) -> None:
        self._weights, self._bank, self._kept = weights, bank, kept
        self._searcher: tuple[object, Searcher] | None = None
        reported = None if known is None else known.reported
        self.class_names: tuple[str, ...] = () if reported is None else reported.class_names
        self.scores: tuple[float, ...] = () if reported is None else reported.scores
        self.gsd_m: float | None = None if known is None else known.gsd_m

    def __repr__(self) -> str:
        return f"fsod.Detector({', '.join(self.class_names) or 'no class yet'}; {self._bank or self._weights})"

    def enroll(
        self,
        scene: Scene | Sequence[Scene],
        examples: File | Boxes | Sequence[File | Boxes],
        *,
        attribute: str = CLASS_ATTRIBUTE,
        native: bool = False,
    ) -> Detector:
        """Takes up classes from examples in seconds; no weight changes. The same as ``fsod enroll``.

        Args:
            scene: where the examples are; or several of one GSD.
            examples: vector files of boxes (any CRS), or for each scene a mapping from class name to (n, 4) boxes in pixels:
                left, top, right, bottom.
            attribute: of the vector files, holds the class.
            native: search scenes at the pixel size of the examples, not at the one that suits the classes.

        Returns:
            A detector of the classes of the examples alone.

        Raises:
            UserError: a scene or example that cannot be used, and what to do.
        """
        weights = self._own_weights("enroll")
        with ExitStack() as stack:
            files = examples_of(scene, examples, attribute, stack)
            folder = TemporaryDirectory(prefix="fsod-")
            bank = Path(folder.name) / "bank.safetensors"
            enroll(weights, files, bank, native=native)
        return Detector(weights, bank, read_bank(bank), (folder, *self._kept))

    def finetune(
        self,
        scene: Scene | Sequence[Scene],
        examples: File | Boxes | Sequence[File | Boxes],
        *,
        area: File | shapely.Polygon | shapely.MultiPolygon | Sequence[Any] | None = None,
        minutes: float | None = None,
        attribute: str = CLASS_ATTRIBUTE,
    ) -> Detector:
        """Trains all weights on examples, and finds more than ``enroll`` does. The same as ``fsod finetune``.

        Args:
            scene: as of ``enroll``.
            examples: as of ``enroll``.
            area: where every object of the classes is marked, so that all else there is background: vector files, or for
                each scene polygons in its pixels.
            minutes: for the steps of the training, above 0; None: as long as the command takes.
            attribute: of the vector files, holds the class.

        Raises:
            UserError: a scene, example or area that cannot be used, and what to do; the extra ``train`` is missing.
        """
        try:
            from fsod.steps.finetune_marks import MINUTES, finetune_marks
        except ModuleNotFoundError as error:
            raise UserError(
                f"finetune needs the package {error.name}, not installed: pip install 'fsod[train]'"
            ) from error
        weights, minutes = self._own_weights("finetune"), MINUTES if minutes is None else minutes
        if not minutes > 0:
            raise UserError(f"minutes={minutes}: give a time above 0")
        with ExitStack() as stack:
            marks = marks_of(scene, examples, area, attribute, stack, shown_to(weights))
            folder = TemporaryDirectory(prefix="fsod-")
            detector = Path(folder.name) / "detector.safetensors"
            finetune_marks(weights, marks, detector, minutes=minutes)
        return Detector(detector, detector, read_bank(detector), (folder,))

    @overload
    def predict(self, scene: File, *, score: float | None = None, **settings: object) -> GeoDataFrame: ...
    @overload
    def predict(self, scene: Pixels, *, score: float | None = None, **settings: object) -> Detections: ...
    def predict(self, scene: Scene, *, score: float | None = None, **settings: object) -> GeoDataFrame | Detections:
        """Finds the classes in a scene of any size. The same as ``fsod predict``.

        What a user should know of a scene, as that it has no coordinate system, comes as a warning of Python's.

        Args:
            scene: a raster, an array or a picture. Nothing is seen where an array is masked or a picture transparent.
            score: leave out what is below it, 0..1; None: what ``scores`` say for each class.
            settings: others of ``fsod.PredictSettings``, such as ``gsd_m``, ``native``, ``bands``, ``scales``, ``aoi``,
                ``budget``, ``minutes``, ``window_px``, ``overlap_px``, ``precision``.

        Returns:
            Of a raster a polygon for each object in the raster's CRS (in pixels, y upwards, where it has none), with class,
            score and box in pixels; of an array or a picture ``fsod.Detections`` in its pixels.

        Raises:
            UserError: no class yet, a raster that cannot be read, a setting that does not fit.
        """
        if self._bank is None:
            raise UserError("this detector knows no class yet; enroll or finetune some, or load a bank")
        plan = _plan({**settings, "score": score})
        searcher = self._searcher_for(self._bank, plan)
        with named(scene) as name:
            result = search_scene(name, searcher, plan, limit=_limit(plan))
        said = list(result.warnings)
        if result.windows_left:
            said.append(how_far(result))
        if is_in_memory(name):
            said = of_pixels([one.replace(name, IN_MEMORY) for one in said], plan)
        if plan.aoi is not None and not result.windows_asked:
            raise UserError("; ".join([*said, "nothing was searched"]))
        for warning in said:
            warnings.warn(warning, stacklevel=2)
        if is_in_memory(name):
            found = result.detections
            return Detections(found.boxes_xyxy_px, found.scores, found.class_ids, class_names=searcher.class_names)
        return layer_of(result, searcher).frame(lonlat=False)

    def save(self, path: File) -> None:
        """Writes the classes, with all weights where these have learned, to a .safetensors file that ``fsod.load`` reads.

        Weights that are in no other file are written beside a bank, as ``NAME.weights.safetensors``. Files of these names are
        replaced.

        Raises:
            UserError: no class yet, an exported network, a folder, or another ending.
        """
        path = _no_folder(Path(path))
        if self._bank is None or self._weights is None:
            raise UserError(
                "there is nothing to save; enroll or finetune some classes first, and not on an exported network"
            )
        if path.suffix != ".safetensors":
            raise UserError(f"{path}: give a name that ends in .safetensors")
        if self._weights == self._bank:
            _copy(self._bank, path)
            return
        weights, bank = self._weights, read_bank(self._bank)
        if self._is_temporary(weights) or (path.exists() and path.samefile(weights)):
            weights = path.with_name(f"{path.stem}.weights.safetensors")
            _copy(self._weights, weights)
        save_bank(path, bank, weights)

    def export(self, path: File, *, window_px: int = WINDOW_PX, batch: int | None = 1) -> None:
        """Writes classes and weights as one ONNX network, which ``fsod.load`` and other software read.

        Args:
            path: ends in .onnx.
            window_px: side of the images that it takes, a multiple of 32.
            batch: how many it takes at once; None: any number.

        Raises:
            UserError: no class yet, exported already, a folder, sizes that do not fit; a package of the extra ``onnx`` is missing.
        """
        from fsod.steps.export_bank import export_files

        if self._bank is None:
            raise UserError("this detector knows no class yet; enroll or finetune some first")
        for name, number in (("window_px", window_px), ("batch", batch)):
            if number is not None and type(number) is not int:
                raise UserError(f"export: {name}: give a whole number, not {number!r}")
        export_files(self._bank, self._weights, _no_folder(Path(path)), None, window_px, batch)

    def _own_weights(self, what: str) -> Path:
        if self._weights is None:
            raise UserError(f"an exported network cannot {what}; load the bank that it was made of")
        return self._weights

    def _is_temporary(self, path: Path) -> bool:
        return any(isinstance(one, TemporaryDirectory) and path.parent == Path(one.name) for one in self._kept)

    def _searcher_for(self, bank: Path, plan: PredictSettings) -> Searcher:
        """The network ready to run; the last one is kept."""
        key = plan.score, plan.precision, plan.window_px, plan.turns
        if self._searcher is None or self._searcher[0] != key:
            weights = None if bank.suffix.lower() == ONNX else self._weights
            self._searcher = key, load_searcher(bank, weights, plan)
        return self._searcher[1]


def load(path: File | None = None, *, weights: File | None = None) -> Detector:
    """A detector from its file.

    Args:
        path: a class bank, a finetuned detector, any other weights of fsod, or an exported network (.onnx); None: the weights
            that come with fsod, which know no class yet.
        weights: those that a bank was made for, where they are not where it says.

    Raises:
        UserError: no such file, none of these, a bank that was made for other weights, or weights beside a file that has its own.
    """
    if path is None:
        if weights is not None:
            raise UserError("weights go with a class bank; name weights alone as the path")
        return Detector(SHIPPED, None, None)
    file = Path(path)
    if weights is not None and (file.suffix.lower() == ONNX or is_checkpoint(file)):
        raise UserError(f"{file}: holds its own weights; leave the others out")
    if file.suffix.lower() == ONNX:
        searcher = load_searcher(file, None, PredictSettings())
        detector = Detector(None, file, None)
        detector.class_names, detector.scores = searcher.class_names, searcher.scores
        detector.gsd_m = searcher.gsd_m
        return detector
    if is_checkpoint(file):
        if not read_header(file, CheckpointHeader).class_names:
            return Detector(file, None, None)
        return Detector(file, file, read_bank(file))
    own = Path(weights) if weights is not None else checkpoint_of(file)
    return Detector(own, file, load_bank(file, load_checkpoint(own).detector))


def _plan(settings: Mapping[str, object]) -> PredictSettings:
    for name in NOT_OF_A_PROGRAM:
        if name in settings:
            raise UserError(f"predict: {name!r} goes with the command `fsod predict`, not with the library")
    plan = predict_settings(settings)
    if plan.aoi_layer is not None and plan.aoi is None:
        raise UserError("predict: 'aoi_layer' says which layer of 'aoi', which is not given")
    for one, other in EITHER:
        if getattr(plan, one) and getattr(plan, other) is not None:
            raise UserError(f"predict: {one!r} and {other!r} contradict each other; give one of them")
    return plan


def _limit(plan: PredictSettings) -> Limit | None:
    """How much of a scene may be looked at."""
    if plan.minutes is not None:
        return Limit(ends=time.monotonic() + 60 * plan.minutes)
    return None if plan.budget in (None, 1) else Limit(share=plan.budget)


def _no_folder(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the file to write")
    return path


def _copy(source: Path, path: Path) -> None:
    """Copies a file, the whole of it or nothing."""
    if path.exists() and path.samefile(source):
        return
    with atomic_write(path) as temporary:
        shutil.copyfile(source, temporary)
