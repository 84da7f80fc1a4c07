"""Reads tiles back and says what is wrong with them: 3D Tiles 1.1, glTF 2.0, quantized mesh, MVT 2.1, TileJSON.

A reader of its own: nothing here comes from the modules that write tiles, so that one checks the other. Every rule is
in `rules.RULES` and in docs/tiles/verify.md.
"""

from tiles.verify.findings import Report
from tiles.verify.run import verify

__all__ = ["Report", "verify"]
