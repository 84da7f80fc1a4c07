"""Reading and writing the store's own tables: layers, sources, assets, counters."""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import orjson

from layers import catalogue
from layers.crs import Bounds
from layers.errors import LayerNotFound
from layers.report import Report
from twin.scope import Scope
from twin.store.columns import quote
from twin.store.interface import Asset, LayerInfo, SourceRecord
from twin.store.layer_record import LayerRecord, from_json


def timestamp(moment: datetime) -> str:
    """A moment as the store writes it: UTC, milliseconds. A naive one is taken as UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def meta(connection: sqlite3.Connection, key: str) -> int | str:
    """One value of `gpkg_citytwin_meta`."""
    row = connection.execute("SELECT value FROM gpkg_citytwin_meta WHERE key = ?", (key,)).fetchone()
    return row[0]


def record(connection: sqlite3.Connection, layer_id: str, scope: Scope) -> LayerRecord:
    """One layer; LayerNotFound (naming only what the scope may see) where there is none."""
    scope.require(layer_id)
    row = connection.execute(
        "SELECT type, table_name, columns, kinds FROM gpkg_citytwin_layer WHERE id = ?", (layer_id,)
    ).fetchone()
    if row is None:
        ids = [each[0] for each in connection.execute("SELECT id FROM gpkg_citytwin_layer")]
        raise LayerNotFound(layer_id, [each for each in ids if scope.allows(each)])
    kinds = frozenset((int(number), bool(z), bool(m)) for number, z, m in orjson.loads(row[3]))
    return LayerRecord(from_json(row[0]), row[1], orjson.loads(row[2]), kinds)


def layer_ids(connection: sqlite3.Connection, scope: Scope) -> list[str]:
    """Ids of the scope's layers in catalogue order, those the catalogue does not know last."""
    order = {key: at for at, key in enumerate(catalogue.load())}
    ids = [row[0] for row in connection.execute("SELECT id FROM gpkg_citytwin_layer")]
    return sorted((each for each in ids if scope.allows(each)), key=lambda each: (order.get(each, len(order)), each))


def info(connection: sqlite3.Connection, layer_id: str, scope: Scope) -> LayerInfo:
    """All about one layer that can be known without reading its features."""
    layer = record(connection, layer_id, scope)
    row = connection.execute(
        "SELECT l.version, l.updated, c.min_x, c.min_y, c.max_x, c.max_y, l.min_z, l.max_z, l.mesh_count "
        "FROM gpkg_citytwin_layer l JOIN gpkg_contents c USING (table_name) WHERE l.id = ?",
        (layer_id,),
    ).fetchone()
    bounds: Bounds | None = None if row[2] is None else (row[2], row[3], row[4], row[5])
    return LayerInfo(
        type=layer.type,
        count=count(connection, layer),
        mesh_count=row[8],
        bounds=bounds,
        z_bounds=None if row[6] is None else (row[6], row[7]),
        version=row[0],
        updated=row[1],
    )


def count(connection: sqlite3.Connection, layer: LayerRecord) -> int:
    """Number of current features, from the maintained count."""
    row = connection.execute(
        "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?", (layer.table,)
    ).fetchone()
    if row is not None and row[0] is not None:
        return int(row[0])
    return int(connection.execute(f"SELECT count(*) FROM {quote(layer.table)}").fetchone()[0])


def assets(connection: sqlite3.Connection, scope: Scope, layer: str | None) -> list[Asset]:
    """Assets of the scope, uppermost first: by priority, then newest epoch, those without epoch last, then by id."""
    found = [_asset(row[0]) for row in connection.execute("SELECT asset FROM gpkg_citytwin_asset ORDER BY id")]
    seen = [each for each in found if scope.allows(each.layer) and layer in {None, each.layer}]
    return on_top_first(seen)


def on_top_first(assets: Iterable[Asset]) -> list[Asset]:
    """The order in which overlapping rasters lie on each other."""
    by_id = sorted(assets, key=lambda each: each.id)
    return sorted(by_id, key=lambda each: (each.priority, each.epoch or ""), reverse=True)


def _asset(text: str) -> Asset:
    row = orjson.loads(text)
    return Asset(**{**row, "bounds": tuple(row["bounds"]), "city_bounds": tuple(row["city_bounds"])})


def put_asset(connection: sqlite3.Connection, asset: Asset) -> None:
    """Insert or replace by id."""
    text = orjson.dumps(asdict(asset), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    connection.execute("INSERT OR REPLACE INTO gpkg_citytwin_asset VALUES (?, ?, ?)", (asset.id, asset.source, text))


def sources(connection: sqlite3.Connection) -> list[SourceRecord]:
    """Every source, by path."""
    rows = connection.execute(
        "SELECT path, sha256, size, mtime_ns, settings, status FROM gpkg_citytwin_source ORDER BY path"
    )
    return [SourceRecord(*row) for row in rows]


def put_source(connection: sqlite3.Connection, source: SourceRecord) -> int:
    """Insert or update by path; returns the source's number."""
    return int(
        connection.execute(
            "INSERT INTO gpkg_citytwin_source (path, sha256, size, mtime_ns, settings, status) "
            "VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, size = excluded.size, "
            "mtime_ns = excluded.mtime_ns, settings = excluded.settings, status = excluded.status RETURNING id",
            (source.path, source.sha256, source.size, source.mtime_ns, source.settings, source.status),
        ).fetchone()[0]
    )


def put_report(connection: sqlite3.Connection, source: str, report: Report) -> None:
    """Keep the report of a source, replacing the one before."""
    text = orjson.dumps(report.to_dict(), default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    connection.execute("INSERT OR REPLACE INTO gpkg_citytwin_report VALUES (?, ?)", (source, text.decode()))


def drop_assets(connection: sqlite3.Connection, source: str, keep: set[str]) -> None:
    """Forget the assets of a source but some."""
    ids = [row[0] for row in connection.execute("SELECT id FROM gpkg_citytwin_asset WHERE source = ?", (source,))]
    gone = [(each,) for each in ids if each not in keep]
    connection.executemany("DELETE FROM gpkg_citytwin_asset WHERE id = ?", gone)


def drop_source(connection: sqlite3.Connection, path: str) -> None:
    """Forget a source and its report."""
    connection.execute("DELETE FROM gpkg_citytwin_source WHERE path = ?", (path,))
    connection.execute("DELETE FROM gpkg_citytwin_report WHERE source = ?", (path,))
