"""From a template and values to one HTML file with everything in it.

What comes from files (names of classes, of scenes, settings) is escaped by the template engine. The page forbids itself
everything but its own script and pictures, so that not even a mistake there could load or run anything else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from fsod.errors import UserError

LONGEST_PX = 2400
"""The longer side of a photo on a page."""

FOLDER = Path(__file__).parent
"""Of templates and scripts."""


def render(template: str, scripts: Sequence[Path] = (), **values: object) -> str:
    """An HTML page.

    Args:
        template: file of this folder, filled with ``values``; text in them is escaped.
        scripts: JavaScript files to put in, as one.
        values: what the template names.
    """
    code = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(style=style, code=code, policy=policy, **values)


def embedded(path: Path, *, photo: bool) -> str:
    """A picture as a data URI.

    Args:
        path: of the picture.
        photo: whether it may be made smaller and lose detail; text in charts would suffer.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            shown = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable picture: {error}") from error
    buffer = BytesIO()
    if photo:
        shown.thumbnail((LONGEST_PX, LONGEST_PX))
        shown.save(buffer, "WEBP", quality=82)
    else:
        shown.save(buffer, "WEBP", lossless=True)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
