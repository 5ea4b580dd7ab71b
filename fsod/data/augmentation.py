"""What training does to crops: right angles, light, colour and sensor. Needs the extra ``train``; detecting does not come here.

albumentations stays at 2.0.8, its last release under MIT (June 2025). Its successor AlbumentationsX is AGPL, as fsod is, but
draws other random numbers for the same seed, so that no record of experiments/ could be repeated; six lines over OpenCV
would do the same and lose turning boxes and masks together, which is tested there. It asks for opencv-python-headless beside
the opencv-python of ultralytics: two wheels of one module. So only installations that train have both, in equal versions.
"""

from __future__ import annotations

import albumentations as A


def query_augmentation() -> A.Compose:
    """Rotations and flips by right angles, light, colour and sensor; boxes are pascal_voc with an ``index`` each.

    Draw from it only after ``set_random_seed``: DataLoader workers would otherwise all emit the same stream.
    """
    return A.Compose(
        [A.D4(p=1.0), *_sensor()],
        bbox_params=A.BboxParams(format="pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True),
    )


def support_augmentation() -> A.Compose:
    """The same for a support crop; its box channel goes in as ``mask``."""
    return A.Compose([A.D4(p=1.0), *_sensor()])


def _sensor() -> list[A.BasicTransform | A.BaseCompose]:
    return [
        A.RandomBrightnessContrast(0.25, 0.25, p=0.7),
        A.HueSaturationValue(8, 25, 0, p=0.4),
        A.OneOf([A.GaussianBlur((3, 5), p=1.0), A.GaussNoise((0.01, 0.05), p=1.0)], p=0.2),
        A.ToGray(p=0.05),
    ]
