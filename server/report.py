"""Maps of reports in the city's own styles, from the renderer that serves maps."""

from io import BytesIO
from typing import TYPE_CHECKING

from layers.crs import Bounds

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.report.model import Draw

BASE = (
    "admin_unit", "sea_use", "water_body", "green_space", "river", "coast_line", "bridge", "road", "building",
    "construction_site", "project_land",
)  # fmt: skip
"""Layers below the marks, lowest first: what helps to find a place."""
PAPER = (246, 245, 241)


def drawer(city: "City") -> "Draw":
    """Draws a box of the city as the served maps do, on paper."""

    def draw(bounds: Bounds, width: int, height: int) -> bytes:
        from PIL import Image

        from tiles import drawing
        from tiles.drawing import canvas, picture, view

        items = tuple(picture.VectorItem(layer) for layer in BASE if layer in city)
        shown = view.View(city.crs, bounds, width, height)
        pixels = drawing.Drawing(city, city.scope, items, shown).pixels()
        out = BytesIO()
        Image.fromarray(canvas.flattened(pixels, PAPER)).save(out, "PNG", optimize=True)
        return out.getvalue()

    return draw
