"""Maps: features and rasters of a box, in any CRS, drawn into pixels in the served styles.

| module | does |
|---|---|
| `picture` | a stack of layers in a view -> colours, and the tag of its content |
| `view` | the box, its CRS, its pixels; city coordinates -> pixels |
| `choice` | what of a layer is drawn as a shape, what as a pixel, what not at all |
| `features` | rows of the store -> shapes in pixels with the attributes that the style reads |
| `expression` | the part of MapLibre's style language that our styles speak |
| `canvas` | areas, lines and discs, antialiased (AGG) |
| `labels`, `fonts` | names on the map |
| `rasters` | image layers on the pixels of a view |
| `key` | a key to the colours |
"""

from tiles.drawing.key import legend, raster_legend
from tiles.drawing.picture import Drawing, RasterItem, VectorItem
from tiles.drawing.view import MAX_PIXELS, MAX_SIDE, PIXEL_MM, View

__all__ = [
    "MAX_PIXELS", "MAX_SIDE", "PIXEL_MM", "Drawing", "RasterItem", "VectorItem", "View", "legend", "raster_legend",
]  # fmt: skip
