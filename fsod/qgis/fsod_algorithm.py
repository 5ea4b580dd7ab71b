"""What all algorithms of the provider share: they gather the arguments of a subcommand, and run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)
from qgis.PyQt.QtGui import QIcon

from .exported_layers import export_layer, raster_name
from .find_fsod import FsodMissingError, find_fsod
from .fsod_setting import executable_setting
from .run_fsod import PATIENCE_S, Audience, Outcome, run_fsod

Parameters = dict[str, Any]
"""What an algorithm is given, by the names of its parameters."""

ICON = Path(__file__).with_name("icon.svg")
BANDS, NODATA, OVERWRITE = "BANDS", "NODATA", "OVERWRITE"


class FsodAlgorithm(QgsProcessingAlgorithm):
    """A subcommand of fsod.

    Layers are read before the work begins, in the thread that they belong to; the work itself waits for a process and may be
    done in any thread.

    Attributes:
        COMMAND: the subcommand.
        NAME: of the algorithm.
        LABEL: the same for people.
        HELP: what it does.
    """

    COMMAND: str
    NAME: str
    LABEL: str
    HELP: str

    def __init__(self) -> None:
        super().__init__()
        self._arguments: list[str] = []
        self._names: dict[str, str] = {}

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return self.LABEL

    def shortHelpString(self) -> str:
        return self.HELP

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def createInstance(self) -> FsodAlgorithm:
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        try:
            find_fsod(executable_setting())
        except FsodMissingError as error:
            return False, str(error)
        return True, ""

    def checkParameterValues(self, parameters: Parameters, context: QgsProcessingContext) -> tuple[bool, str]:
        """Names the layer that is gone, where QGIS would name the parameter alone."""
        for definition in self.parameterDefinitions():
            for value in _layers_named(definition, parameters):
                if isinstance(value, str) and QgsProcessingUtils.mapLayerFromString(value, context) is None:
                    label = definition.description()
                    return False, f"{label}: {value} is not there, or no layer that QGIS can read; choose another one"
        return super().checkParameterValues(parameters, context)

    def prepareAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        self._folder = TemporaryDirectory(prefix="fsod-qgis-")  # gone when the command has ended
        self._arguments = self.gather(parameters, context, feedback)
        return True

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        """Arguments for what is read; QgsProcessingException for what cannot be."""
        raise NotImplementedError

    def run_command(
        self, outputs: Sequence[str], feedback: QgsProcessingFeedback, *, bars: int = 1, patience_s: float = PATIENCE_S
    ) -> Outcome:
        """Runs the subcommand with what was gathered and these further arguments.

        Raises:
            QgsProcessingException: fsod is not there, or refuses, and why.
        """
        audience = Audience(
            say=lambda line: feedback.pushInfo(self._named(line)),
            warn=lambda line: feedback.pushWarning(self._named(line)),
            progress=feedback.setProgress,
            cancelled=feedback.isCanceled,
        )
        try:
            executable = find_fsod(executable_setting())
            arguments = [self.COMMAND, *self._arguments, *outputs]
            feedback.pushDebugInfo(" ".join([str(executable), *arguments]))
            with self._folder:
                outcome = run_fsod(executable, arguments, audience, bars=bars, patience_s=patience_s)
        except (FsodMissingError, OSError) as error:
            raise QgsProcessingException(str(error)) from error
        if outcome.error and not outcome.result:
            raise QgsProcessingException(self._named(outcome.error))
        return outcome

    def add_multiple(self, name: str, label: str, kind: int, *, optional: bool = False) -> None:
        """A parameter of any number of layers."""
        self.addParameter(QgsProcessingParameterMultipleLayers(name, label, kind, optional=optional))

    def add_advanced(self, parameter: QgsProcessingParameterDefinition) -> None:
        """A parameter that the dialog folds away."""
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        self.addParameter(parameter)

    def add_seeing(self) -> None:
        """Parameters of how a raster is seen, and of what may be replaced."""
        bands = "Bands to see as red, green, blue, such as 4,3,2"
        self.add_advanced(QgsProcessingParameterString(BANDS, bands, optional=True))
        nodata = "Value that stands for no pixel, where the file does not say so"
        self.add_advanced(QgsProcessingParameterString(NODATA, nodata, optional=True))
        replace = "Also replace files that fsod did not write, or that hold verdicts (--overwrite)"
        self.add_advanced(QgsProcessingParameterBoolean(OVERWRITE, replace, defaultValue=False))

    def seeing(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Arguments of the same."""
        overwrite = ["--overwrite"] if self.parameterAsBool(parameters, OVERWRITE, context) else []
        return [
            *self.texts({"--bands": BANDS, "--nodata": NODATA}, parameters, context),
            *overwrite,
        ]

    def texts(self, options: dict[str, str], parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Arguments of those of the parameters, option -> name, that are not left empty."""
        given = {option: self.parameterAsString(parameters, name, context) for option, name in options.items()}
        # one argument each, so that a value may begin with a dash
        return [f"{option}={value.strip()}" for option, value in given.items() if value and value.strip()]

    def rasters(
        self, name: str, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        """Names of the rasters of a parameter of several."""
        return [raster_name(layer, feedback) for layer in self.parameterAsLayerList(parameters, name, context)]

    def vectors(
        self, name: str, attributes: Sequence[str], needed: str, parameters: Parameters, context: QgsProcessingContext
    ) -> list[str]:
        """Exports the vector layers of a parameter.

        Args:
            name: of the parameter.
            attributes: to keep.
            needed: the one that no layer may lack; empty for none.
            parameters: of the run.
            context: of the run.

        Returns:
            Paths, which messages of fsod replace by the names of the layers.

        Raises:
            QgsProcessingException: a layer without geometry, or without the attribute.
        """
        paths = []
        for i, layer in enumerate(self.parameterAsLayerList(parameters, name, context)):
            path = self.scratch(f"{name.lower()}_{i}.gpkg", f"layer {layer.name()!r}")
            has = export_layer(layer, attributes, path, context)
            if needed and needed not in has:
                fields = ", ".join(layer.fields().names()) or "none"
                raise QgsProcessingException(f"layer {layer.name()!r}: has no attribute {needed!r}; it has {fields}")
            paths.append(str(path))
        return paths

    def scratch(self, name: str, meaning: str) -> Path:
        """A path for this run alone; messages of fsod say its meaning instead."""
        path = Path(self._folder.name) / name
        self._names[str(path)] = meaning
        return path

    def _named(self, text: str) -> str:
        for path, meaning in self._names.items():
            text = text.replace(path, meaning)
        return text


def repeated(option: str, values: Sequence[str]) -> list[str]:
    """An option that is given for each value."""
    return [argument for value in values for argument in (option, value)]


def _layers_named(definition: QgsProcessingParameterDefinition, parameters: Parameters) -> list[Any]:
    """The layers that a parameter names."""
    if definition.type() not in ("multilayer", "raster", "vector", "source"):
        return []
    if getattr(definition, "layerType", lambda: None)() == QgsProcessing.SourceType.TypeFile:
        return []
    given = parameters.get(definition.name())
    return [one for one in (given if isinstance(given, list) else [given]) if one]
