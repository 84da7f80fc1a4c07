"""Which of some features have a model, current or closed, and how large it is: for reading models in portions."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import numpy as np
from numpy.typing import NDArray

from layers.errors import CityTwinError
from twin.scope import Scope
from twin.store import registry
from twin.store.columns import quote, row_numbers
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Store

IntArray = NDArray[np.int64]


def sizes(store: Store, layer_id: str, fids: IntArray, scope: Scope) -> tuple[IntArray, IntArray]:
    """Row numbers among `fids`, ascending, that have a model, and the bytes of each; of a copy few."""
    found: object = store
    if not isinstance(found, GeoPackageStore):
        raise CityTwinError(f"Models are not read from a {type(store).__name__} yet.", "Use a GeoPackage.")
    with found.reading() as db:
        layer = registry.record(db, layer_id, scope)
        rows = db.execute(
            f"SELECT b.fid, length(b.mesh) FROM json_each(?) j CROSS JOIN {quote(layer.mesh_blob)} b "
            "ON b.fid = j.value ORDER BY 1",
            (row_numbers(fids),),
        ).fetchall()
    table = np.array(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
