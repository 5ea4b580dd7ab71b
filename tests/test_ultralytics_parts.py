"""ultralytics changes Pillow when it is imported; fsod takes that back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError
from ultralytics.utils import patches

from fsod.errors import UserError
from fsod.report.page import embedded
from fsod.ultralytics_parts import Conv


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"no picture", b"<svg/>"])
def test_what_pillow_does_not_know_asks_for_no_plugin(tmp_path: Path, content: bytes) -> None:
    assert Conv.__module__.startswith("ultralytics")
    assert Image.open is getattr(patches, "_image_open", Image.open)
    (path := tmp_path / "p.png").write_bytes(content)
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    with pytest.raises(UserError, match=r"p\.png: not a readable picture: cannot identify"):
        embedded(path, photo=True)
