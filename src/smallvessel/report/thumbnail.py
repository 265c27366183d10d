"""A small picture of a session for the page of all sessions: the slice of the reference with most of all markers, outlined."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from ..derivatives import write_text
from ..markers import MARKERS, Sequence
from ..records import MarkerMap, SessionResult
from ..volume import Mask, resample
from .drawing import Picture, draw, fullest_slices, mask_window, outline, spread_slices
from .figures import prepare_canvas
from .images import GreyImage

MARGIN_MM = 2.0
LETTER_MM = 20.0
"""Large, for the picture is shown small."""


def write_thumbnail(result: SessionResult, images: Mapping[Sequence, GreyImage], path: Path) -> None:
    """Write a session's small picture, atomically."""
    write_text(path, render_thumbnail(result, images))


def render_thumbnail(result: SessionResult, images: Mapping[Sequence, GreyImage]) -> str:
    """The small picture as SVG; an empty one where the reference is not among the images."""
    image = images.get(result.prepared.reference)
    if image is None:
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>\n'
    canvas = prepare_canvas(image, result.prepared)
    found = {
        marker: resample(Mask(found.labels.data > 0, found.labels.grid), canvas.grid).data
        for marker, found in result.segmentation.markers.items()
        if isinstance(found, MarkerMap)
    }
    together = np.logical_or.reduce([np.zeros_like(canvas.brain), *found.values()])
    (index,) = fullest_slices(together, canvas.plane, 1, 1) or spread_slices(canvas.brain, canvas.plane, (0.55,))
    window = mask_window(canvas.brain, canvas.grid, canvas.plane, MARGIN_MM)
    picture = draw(canvas.grey, canvas.grid, canvas.plane, index, window, f"{result.id} on {image.sequence}")
    lines = [outline(mask, canvas.grid, canvas.plane, index, window, MARKERS[marker].colour) for marker, mask in found.items()]
    paths = "".join(f'<path d="{line.path}" fill="none" stroke="{line.colour}" stroke-width="1.4"/>' for line in lines if line.path)
    size = f'width="{picture.width_mm}" height="{picture.height_mm}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width_mm} {picture.height_mm}" role="img">'
        f"<title>{escape(picture.title)}</title>"
        f'<image href="{picture.uri}" {size} preserveAspectRatio="none"/>{paths}{_letters(picture)}</svg>\n'
    )


def _letters(picture: Picture) -> str:
    """The letters of both edges, at the foot of the picture, white with a dark edge."""
    style = f'font-family="sans-serif" font-weight="600" font-size="{LETTER_MM:g}" fill="#fff" stroke="#000" stroke-width="3"'
    places = ((picture.left, 2.0, "start"), (picture.right, picture.width_mm - 2.0, "end"))
    return "".join(
        f'<text x="{x:g}" y="{picture.height_mm - 3:g}" text-anchor="{anchor}" {style} paint-order="stroke">{letter}</text>'
        for letter, x, anchor in places
    )
