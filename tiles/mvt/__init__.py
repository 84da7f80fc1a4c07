"""Vector tiles (MVT 2.1) on any tile matrix set, made from the store when asked for. One tile layer a collection.

| module | does |
|---|---|
| `one_tile` | one tile: which features, the tag of its content, its bytes |
| `choice` | what a zoom shows: which features, which attributes, how fine |
| `placement` | city coordinates to units of a tile |
| `grid`, `halfplane` | clipping, rounding, validity |
| `encode`, `values`, `varint` | the bytes |
| `description` | TileJSON 3.0 |
"""

from tiles.mvt.choice import EXACT_ZOOM, MAX_FEATURES, MAX_ZOOM
from tiles.mvt.description import tilejson
from tiles.mvt.one_tile import EVERYTHING, Selection, Tile, tag, tile

__all__ = ["EVERYTHING", "EXACT_ZOOM", "MAX_FEATURES", "MAX_ZOOM", "Selection", "Tile", "tag", "tile", "tilejson"]
