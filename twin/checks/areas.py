"""Stated survey areas against the area of the outline on the CGCS2000 ellipsoid.

The survey's own rule takes areas on the ellipsoid (Circular 32 of 2008 of the land survey office); a plane area in a
3-degree zone is too large by up to 400 parts in a million at its edge.
"""

import numpy as np
import shapely

from layers.catalogue import LayerType
from layers.ellipsoid_area import areas_m2
from layers.source import FeatureBatch
from twin.fuse.columns import numbers
from twin.fuse.notes import Notes

COLUMN = "TBMJ"
SHARE, MOST_M2, ROUNDING_M2 = 1e-4, 0.1, 0.01
"""Told from 0.01 % or 0.1 m², whichever is less, but never for what two decimals may hide."""


def check(layer_type: LayerType, batch: FeatureBatch, source_crs: str | None, notes: Notes) -> None:
    """Note every feature whose TBMJ differs from its outline; both numbers are in the message, the stated one stays."""
    if layer_type.attribute(COLUMN) is None or source_crs is None:
        return
    stated = numbers(batch.attributes, COLUMN)
    rows = np.flatnonzero(np.isfinite(stated) & np.isin(shapely.get_type_id(batch.geometry), (3, 6)))
    if not rows.size:
        return
    true = areas_m2(batch.geometry[rows], source_crs)
    far = np.abs(stated[rows] - true) > np.clip(SHARE * true, ROUNDING_M2, MOST_M2)
    told = [f"TBMJ is {given:.2f} m2, the outline has {own:.2f} m2 on the ellipsoid ({given - own:+.2f} m2)."
            for given, own in zip(stated[rows][far], true[far], strict=True)]  # fmt: skip
    hint = "Compute TBMJ anew, or check the outline; a plane area is not the survey's area."
    notes.add("AREA_MISMATCH", [batch.ids[i] for i in rows[far].tolist()], told, hint, "warning")
