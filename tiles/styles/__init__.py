"""Styles of vector tiles as MapLibre style documents (version 8), made from the catalogue and from `colours.yaml`.

Spec: https://maplibre.org/maplibre-style-spec. Only expressions that the reader of QGIS knows too: get, has, match, ==,
in, all, !, interpolate. Nothing is loaded from elsewhere: no sprite, no glyphs. Labels are a variant of their own,
since text without `glyphs` (drawn with the reader's own fonts) needs MapLibre GL JS 5.11 or QGIS.
"""

from tiles.styles.classes import needed
from tiles.styles.document import STYLE_TYPE, style

__all__ = ["STYLE_TYPE", "needed", "style"]
