"""What a layer's subject says about its features: codes, areas, overlaps. Nothing is changed, everything is told.

`rows` looks at each batch while it is stored; `overlaps.check` at whole layers before the commit.
"""

from layers.catalogue import LayerType
from layers.source import FeatureBatch
from twin.checks import areas, codes, depths, sheets, sizes
from twin.fuse.notes import Notes


def rows(layer_type: LayerType, batch: FeatureBatch, source_crs: str | None, notes: Notes) -> None:
    """Every check of single features that fits the layer type."""
    codes.check(layer_type, batch, notes)
    areas.check(layer_type, batch, source_crs, notes)
    sheets.check(layer_type, batch, notes)
    depths.check(layer_type, batch, notes)
    sizes.check(layer_type, batch, source_crs, notes)
