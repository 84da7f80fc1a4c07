"""Since when a layer has a history, and until when it changed: the times that a map of it can be asked for."""
# ruff: noqa: S608 -- identifiers go through columns.quote

from twin.scope import Scope
from twin.store import read_raw
from twin.store.columns import quote
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Store


def span(store: Store, layer_id: str, scope: Scope) -> tuple[str, str] | None:
    """First and last moment (RFC 3339) at which something in a layer began or ended; None without closed versions.

    Looks at each row: keep the answer as long as the layer stays as it is. LayerNotFound outside the scope.
    """
    found: object = store
    if not isinstance(found, GeoPackageStore):
        return None
    with read_raw.reading(store) as reader:
        record = reader.layer(layer_id, scope).record
    table, history = quote(record.table), quote(record.history)
    with found.reading() as db:
        if db.execute(f"SELECT 1 FROM {history} LIMIT 1").fetchone() is None:
            return None
        row = db.execute(
            f"SELECT min(low), max(high) FROM (SELECT min(valid_from) low, max(valid_from) high FROM {table} "
            f"UNION ALL SELECT min(valid_from), max(valid_to) FROM {history})"
        ).fetchone()
    return (str(row[0]), str(row[1])) if row[0] and row[1] else None
