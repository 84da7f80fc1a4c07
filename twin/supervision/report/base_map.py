"""What lies below the marks of a report's map, drawn plainly: land and water, roads, buildings, borders.

For reports made where no map renderer is at hand; the server draws the city in its own styles instead.
"""

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.crs import Bounds
from twin.analysis.place import collected
from twin.store.interface import Query

if TYPE_CHECKING:
    from twin.city import City

DPI = 100
PAPER = "#f6f5f1"
MOST = 100_000
"""Features of a layer that are drawn; of one that has more nothing is."""
_LOOKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("water_body", {"facecolor": "#bcd9ee", "edgecolor": "none"}),
    ("green_space", {"facecolor": "#d5e8c8", "edgecolor": "none"}),
    ("road", {"edgecolor": "#c9c4b8", "linewidth": 1.6}),
    ("river", {"edgecolor": "#7fb2d9", "linewidth": 1.6}),
    ("building", {"facecolor": "#ddd5c8", "edgecolor": "#b3a997", "linewidth": 0.4}),
    ("construction_site", {"facecolor": "none", "edgecolor": "#8d6e63", "linewidth": 1.4}),
    ("admin_unit", {"facecolor": "none", "edgecolor": "#7a6fac", "linewidth": 0.8}),
)


def drawer(city: "City") -> Callable[[Bounds, int, int], bytes]:
    """Draws a box of the city; see `model.Draw`."""

    def draw(bounds: Bounds, width: int, height: int) -> bytes:
        return plain(city, bounds, width, height)

    return draw


def plain(city: "City", bounds: Bounds, width: int, height: int) -> bytes:
    """PNG of a box in the city's CRS."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(bounds[0], bounds[2])
    axes.set_ylim(bounds[1], bounds[3])
    for layer, look in _LOOKS:
        if layer in city and city.store.layer(layer, city.scope).count <= MOST:
            _draw(axes, city, layer, (bounds, look))
    out = BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(out)
    return out.getvalue()


def _draw(axes: Any, city: "City", layer: str, how: tuple[Bounds, dict[str, Any]]) -> None:
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.path import Path

    bounds, look = how
    query = Query(region=shapely.box(*bounds), properties=())
    found = collected(city.store.query(layer, query, city.scope), layer, MOST)
    parts = shapely.get_parts(shapely.force_2d(found.geometry))
    lines = parts[shapely.get_dimensions(parts) == 1]
    areas = parts[shapely.get_dimensions(parts) == 2]
    if len(lines):
        axes.add_collection(LineCollection([shapely.get_coordinates(each) for each in lines], colors=look["edgecolor"],
                                           linewidths=look.get("linewidth", 1.0)))  # fmt: skip
    if len(areas) and "facecolor" in look:
        shapes = [Path.make_compound_path(*_rings(each)) for each in areas]
        axes.add_collection(PathCollection(shapes, facecolors=look["facecolor"], edgecolors=look["edgecolor"],
                                           linewidths=look.get("linewidth", 0.0)))  # fmt: skip


def _rings(area: shapely.Polygon) -> list[Any]:
    from matplotlib.path import Path

    turned = shapely.normalize(area)  # holes the other way round than the outline
    return [Path(np.asarray(ring.coords), closed=True) for ring in (turned.exterior, *turned.interiors)]
