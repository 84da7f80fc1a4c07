"""The layer `bim_port` of one IFC model: points where elements can be joined, and what is joined there."""

from collections.abc import Iterator

import numpy as np
import shapely

from ingest.ifc import batch as ifc_batch
from ingest.ifc.placement import Facts, Placement
from ingest.ifc.port_facts import FIELDS
from layers import catalogue
from layers.issue import Reject
from layers.source import FeatureBatch, VectorLayer

_BATCH = 10_000
_LAYER = "bim_port"


def layers(name: str, facts: Facts, placement: Placement) -> list[VectorLayer]:
    """The layer of ports, or nothing where the model has none. A port without a place of its own is a reject."""
    if not facts["ports"]:
        return []

    def batches() -> Iterator[FeatureBatch]:
        layer.n_read = 0
        layer.rejects.clear()
        seen: set[str] = set()
        for start in range(0, len(facts["ports"]), _BATCH):
            rows, positions = [], []
            for values, position in facts["ports"][start : start + _BATCH]:
                row = dict(zip(FIELDS, values, strict=True)) | {"model": name}
                layer.n_read += 1
                guid = row["ifc_guid"]
                if position is None:
                    message = "The port has no local placement, so its position is unknown."
                    layer.rejects.append(Reject("IFC_NO_POSITION", guid, message, row))
                elif guid in seen:
                    message = f"GlobalId {guid} is used by an earlier port of this file."
                    layer.rejects.append(Reject("IFC_DUPLICATE_GUID", guid, message, row))
                else:
                    seen.add(guid)
                    rows.append(row)
                    positions.append(position)
            if rows:
                points = placement.to_map(np.array(positions, np.float64) * facts["unit_m"])
                yield ifc_batch.batch(catalogue.layer_type(_LAYER), rows, list(shapely.points(points)), None)

    layer = VectorLayer("ports", _LAYER, placement.crs, batches, placement.vertical_crs, geometry_type="Point")
    return [layer]
