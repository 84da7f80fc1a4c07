"""Elements of building models that no building has: a model in millimetres that was read as metres."""

import numpy as np

from layers import crs
from layers.catalogue import LayerType
from layers.source import FeatureBatch
from twin.fuse.notes import Notes

LONGEST_M = 1000.0
"""A building is shorter; roads and tunnels in one piece may be longer, and are told to be looked at."""


def check(layer_type: LayerType, batch: FeatureBatch, source_crs: str | None, notes: Notes) -> None:
    """Note every element whose box has a side beyond that; it is kept."""
    if not layer_type.id.startswith("bim_") or batch.meshes is None or source_crs is None:
        return
    unit_m = 1.0 if crs.is_geographic(source_crs) else crs.metres_per_unit(source_crs)
    long: dict[str, float] = {}
    for name, mesh in zip(batch.ids, batch.meshes, strict=True):
        if mesh is None or not len(mesh.vertices):
            continue
        side_m = float(np.ptp(mesh.vertices, axis=0).max()) * unit_m
        if side_m > LONGEST_M:
            long[name] = side_m
    told = [f"It is {side_m:.0f} m long or high; is the length unit of the model right?" for side_m in long.values()]
    notes.add("MODEL_SIZE_UNLIKELY", long, told, "Correct the unit (IfcUnitAssignment) and export again.", "warning")
