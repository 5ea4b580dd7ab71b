"""The detections of a layer one after the other, in the order in which verdicts teach most."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import NULL, QgsFeature, QgsFeatureRequest, QgsVectorDataProvider, QgsVectorLayer

from .detections_layer import ASK, VERDICT

YES, NO, NOT_JUDGED = "yes", "no", ""
_WORDS = {"yes": YES, "y": YES, "true": YES, "no": NO, "n": NO, "false": NO}
_CHECKED = {YES: True, NO: False}
_LAST = float("inf")


@dataclass
class Counts:
    """How far the judging is.

    Attributes:
        yes: detections that are of their class.
        no: those that are not.
        total: all of the layer.
    """

    yes: int
    no: int
    total: int


class JudgingError(Exception):
    """A verdict cannot be written; the message says what to do."""


class Judging:
    """Goes through a layer and writes verdicts into it.

    A verdict is in the layer's file at once. Where the layer is being edited, it is an edit like others, which saving
    writes and undoing takes back.

    Attributes:
        layer: of detections.
        current: id of the feature that is to be judged next; None when all are, or there is none.
    """

    def __init__(self, layer: QgsVectorLayer) -> None:
        self.layer = layer
        self.current: int | None = None
        self._order: list[int] = []
        self._verdicts: dict[int, str] = {}
        self._shown: list[int] = []
        self.read()
        self._go_to_next(0)

    def read(self) -> None:
        """Takes up what the layer says now: others may have judged, drawn or deleted."""
        fields = self.layer.fields()
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setSubsetOfAttributes([fields.lookupField(VERDICT), fields.lookupField(ASK)])
        ranks = {}
        self._verdicts = {}
        for feature in self.layer.getFeatures(request):
            rank = feature[ASK]
            ranks[feature.id()] = _LAST if rank in (None, NULL) else float(rank)
            said = feature[VERDICT]
            word = "" if said in (None, NULL) else str(said).strip().lower()
            self._verdicts[feature.id()] = _WORDS.get(word, NOT_JUDGED)
        self._order = sorted(ranks, key=lambda feature_id: (ranks[feature_id], feature_id))
        if self.current not in self._verdicts:
            self._go_to_next(0)

    @property
    def counts(self) -> Counts:
        """How many are judged, and how."""
        said = list(self._verdicts.values())
        return Counts(said.count(YES), said.count(NO), len(said))

    @property
    def position(self) -> int:
        """Of the current one in the order of ``ask``, from 1; 0 for none."""
        return 0 if self.current is None else self._order.index(self.current) + 1

    def feature(self) -> QgsFeature | None:
        """The current one, with its outline as it is now."""
        return None if self.current is None else self.layer.getFeature(self.current)

    def judge(self, verdict: str) -> None:
        """Writes a verdict on the current one and goes on; JudgingError if the layer takes none."""
        if self.current is None:
            return
        field = self.layer.fields().lookupField(VERDICT)
        said: object = verdict
        if self.layer.fields().at(field).typeName().lower().startswith("bool"):  # a checkbox: any text would make a no
            said = _CHECKED.get(verdict, NULL)
        if self.layer.isEditable():
            written = self.layer.changeAttributeValue(self.current, field, said)
        else:
            provider = self.layer.dataProvider()
            able = provider.capabilities() & QgsVectorDataProvider.Capability.ChangeAttributeValues
            written = bool(able) and provider.changeAttributeValues({self.current: {field: said}})
        if not written:
            raise JudgingError(
                f"layer {self.layer.name()!r}: takes no verdicts, as its file or its format cannot be changed; export it as a "
                "GeoPackage and judge that"
            )
        self.layer.triggerRepaint()
        self._verdicts[self.current] = verdict
        self.skip()

    def skip(self) -> None:
        """Goes on without a verdict."""
        if self.current is not None:
            self._shown.append(self.current)
            self._go_to_next(self._order.index(self.current) + 1)

    def back(self) -> None:
        """Goes to the one that was shown before, whatever was said of it."""
        while self._shown:
            before = self._shown.pop()
            if before in self._verdicts and before != self.current:
                self.current = before
                return

    def _go_to_next(self, start: int) -> None:
        """The first that is not judged from a position on, and round to it again."""
        around = self._order[start:] + self._order[:start]
        self.current = next((one for one in around if self._verdicts[one] == NOT_JUDGED), None)
