"""MkDocs hook: formulas become MathML while the pages are built, so that no script has to be fetched to show them."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
"""What the extension arithmatex leaves of ``$...$`` and ``$$...$$``."""


def on_page_content(content: str, **_: object) -> str:
    """The HTML of a page with its formulas as MathML."""
    return FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    display = "block" if formula[1] == "div" else "inline"
    return convert(html.unescape(formula[2]).strip(), display=display)
