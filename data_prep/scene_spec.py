"""The specification of synthetic scenes: every number that decides what they look like, in one YAML file."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

import pyproj
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fsod.data.procedural.named import named_families
from fsod.errors import nearest

DRAWING = 1
"""Raised whenever the drawing changes what an unchanged specification looks like, so that old folders are not taken."""

Count = Annotated[int, Field(ge=0)]
CountRange = tuple[Count, Count]


class SceneSpec(BaseModel):
    """Everything that decides what the scenes look like.

    Attributes:
        seed: of all drawing.
        train_images: small images in ``splits/train.txt``.
        test_images: small images in ``splits/test.txt``.
        image_px: side of a small image.
        scene_px: side of the one large scene in ``splits/scene.txt``.
        gsd_m: ground size of a pixel.
        crs: a projected coordinate system in metres.
        origin_m: easting and northing of the first image's top left corner.
        classes: named families, in the order of the COCO categories.
        novel: those of them that are taken up from a few examples.
        novel_image_share: share of the training images in which novel objects stand.
        distractors: named families that are drawn and not labelled.
        objects_per_image: fewest and most objects asked for in a small image; the large scene has as many by area.
        clutter_per_image: the same for unlabelled ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(ge=0)]
    train_images: Annotated[int, Field(ge=1)]
    test_images: Annotated[int, Field(ge=1)]
    image_px: Annotated[int, Field(ge=64, le=4096)]
    scene_px: Annotated[int, Field(ge=64, le=8192)]
    gsd_m: Annotated[float, Field(gt=0)]
    crs: str
    origin_m: tuple[float, float]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    novel: tuple[str, ...]
    novel_image_share: Annotated[float, Field(ge=0, le=1)]
    distractors: tuple[str, ...]
    objects_per_image: CountRange
    clutter_per_image: CountRange

    @field_validator("classes", "distractors")
    @classmethod
    def _are_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(named_families())
        for name in names:
            if name not in known:
                raise ValueError(f"no family {name!r}{nearest(name, known)}")
        if len(set(names)) < len(names):
            raise ValueError("a family is named twice")
        return names

    @field_validator("objects_per_image", "clutter_per_image")
    @classmethod
    def _is_ordered(cls, counts: CountRange) -> CountRange:
        if counts[0] > counts[1]:
            raise ValueError("the lower number comes first")
        return counts

    @field_validator("crs")
    @classmethod
    def _is_in_metres(cls, name: str) -> str:
        try:
            crs = pyproj.CRS(name)
        except pyproj.exceptions.CRSError as error:
            raise ValueError("not a coordinate system") from error
        if not crs.is_projected or crs.axis_info[0].unit_name != "metre":
            raise ValueError("not a projected coordinate system in metres")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        strange = [name for name in self.novel if name not in self.classes]
        if strange:
            raise ValueError(f"novel class {strange[0]!r} is not among the classes{nearest(strange[0], self.classes)}")
        both = [name for name in self.distractors if name in self.classes]
        if both:
            raise ValueError(f"{both[0]!r} is a class and a distractor")
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of the specification and of the drawing's version."""
        return hashlib.sha256(f"{DRAWING} {self.model_dump_json()}".encode()).hexdigest()
