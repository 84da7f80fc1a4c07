"""The SQL of a GeoPackage: base tables, feature tables, R-tree index and its triggers.

Spec: OGC 12-128r18 (GeoPackage 1.3.1), annexes C and F.3 (R-tree extension); `gpkg_ogr_contents` is GDAL's table of
feature counts, kept so that GDAL and QGIS count quickly and our counts stay right after an edit from outside.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3

from layers import crs
from layers.catalogue import Attribute
from twin.store import blocks, change_log, edits, shared
from twin.store.columns import SQL_TYPES, quote
from twin.store.geometry_kind import column_type, dimension_flags
from twin.store.layer_record import GEOMETRY, LayerRecord

APPLICATION_ID = 0x47504B47
USER_VERSION = 10300
CUSTOM_SRS_ID = 100_000

_BASE = """
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_extensions (
  table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL,
  CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
CREATE TABLE gpkg_ogr_contents (table_name TEXT NOT NULL PRIMARY KEY, feature_count INTEGER DEFAULT NULL);
CREATE TABLE gpkg_citytwin_meta (key TEXT NOT NULL PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE gpkg_citytwin_layer (
  id TEXT NOT NULL PRIMARY KEY, table_name TEXT NOT NULL UNIQUE, type TEXT NOT NULL, columns TEXT NOT NULL,
  version INTEGER NOT NULL, updated TEXT NOT NULL, min_z DOUBLE, max_z DOUBLE,
  mesh_count INTEGER NOT NULL DEFAULT 0, kinds TEXT NOT NULL DEFAULT '[]');
CREATE TABLE gpkg_citytwin_source (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, settings TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE gpkg_citytwin_report (source TEXT NOT NULL PRIMARY KEY, report TEXT NOT NULL);
CREATE TABLE gpkg_citytwin_asset (id TEXT NOT NULL PRIMARY KEY, source TEXT NOT NULL, asset TEXT NOT NULL);
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined cartesian SRS', -1, 'NONE', -1, 'undefined', 'undefined cartesian coordinate reference system'),
  ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', 'undefined geographic coordinate reference system');
INSERT INTO gpkg_citytwin_meta VALUES ('version', 0), ('last_write', ''), ('generation', 0);
"""

_EXTENSION = "INSERT INTO gpkg_extensions VALUES (?, ?, ?, ?, ?)"
_RTREE_DEFINITION = "http://www.geopackage.org/spec120/#extension_rtree"
_OWN_DEFINITION = "Tables of the city twin: catalogue, sources, reports, history, meshes. Safe to ignore."


def execute_all(connection: sqlite3.Connection, script: str) -> None:
    """Run statements one by one inside the running transaction (`executescript` would commit it first)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def create_base(connection: sqlite3.Connection, city_crs: str) -> int:
    """Make an empty database a GeoPackage in the running transaction; returns the srs_id of the city's CRS."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    execute_all(connection, _BASE)
    create_later_tables(connection)
    add_srs(connection, "EPSG:4326")
    srs_id = add_srs(connection, city_crs)
    connection.execute("INSERT INTO gpkg_citytwin_meta VALUES ('srs_id', ?), ('crs', ?)", (srs_id, crs.name(city_crs)))
    return srs_id


def create_later_tables(connection: sqlite3.Connection) -> None:
    """Tables that older stores lack."""
    for script in (shared.TABLES, change_log.TABLES, blocks.TABLES, edits.TABLES):
        execute_all(connection, script)


def bring_up_to_date(connection: sqlite3.Connection, records: list[LayerRecord]) -> None:
    """Give a store from before the change log what newer ones have: tables, triggers, a log that begins now."""
    create_later_tables(connection)
    for record in records:
        for name in trigger_names(record):
            connection.execute(f"DROP TRIGGER IF EXISTS {quote(name)}")
        execute_all(connection, own_triggers(record))
        blocks.adopt(connection, record)
    connection.execute("INSERT OR IGNORE INTO gpkg_citytwin_change_log SELECT id, version, 0 FROM gpkg_citytwin_layer")


def add_srs(connection: sqlite3.Connection, text: str) -> int:
    """Register a horizontal CRS with its WKT; returns its srs_id (the EPSG code, where it has one)."""
    name = crs.name(text)
    authority, _, code = name.partition(":")
    is_epsg = authority == "EPSG" and code.isdigit()
    srs_id = int(code) if is_epsg else CUSTOM_SRS_ID
    parsed = crs.parse(text)
    wkt = parsed.to_wkt("WKT1_GDAL") or "undefined"
    row = (parsed.name, srs_id, "EPSG" if is_epsg else "NONE", srs_id, wkt, "coordinate reference system of the city")
    connection.execute("INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", row)
    return srs_id


SERIES = ("device_id", "quantity", "unit", "time")
"""A layer of observations is asked for the series of a few devices: without an index that reads all of it."""


def index_series(connection: sqlite3.Connection, record: LayerRecord) -> None:
    """An index of the series of a layer of observations, where it has none yet."""
    if record.has_geometry or not all(record.type.attribute(name) for name in SERIES):
        return
    names = ", ".join(quote(record.columns[name]) for name in SERIES)
    connection.execute(
        f"CREATE INDEX IF NOT EXISTS {quote(record.rows + '_series')} ON {quote(record.table)} ({names})"
    )


def create_layer(connection: sqlite3.Connection, record: LayerRecord, srs_id: int) -> None:
    """All tables of a new layer: features (or attributes), history, row facts, meshes, R-trees, triggers."""
    table = quote(record.table)
    geometry = f"{GEOMETRY} {column_type(record.type.geometry, set())}, " if record.has_geometry else ""
    attributes = "".join(f"{column_sql(record, each)}, " for each in record.type.attributes)
    common = f"{attributes}version INTEGER DEFAULT 1, valid_from DATETIME{{}}, valid_to DATETIME, extra TEXT"
    now = " DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))"
    connection.execute(
        f"CREATE TABLE {table} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {geometry}"
        f"id TEXT UNIQUE, {common.format(now)})"
    )
    index_series(connection, record)
    connection.execute(
        f"CREATE TABLE {quote(record.history)} (fid INTEGER PRIMARY KEY NOT NULL, {geometry}"
        f"id TEXT, {common.format('')}, citytwin_single INTEGER)"
    )
    connection.execute(f"CREATE INDEX {quote(record.history + '_id')} ON {quote(record.history)} (id)")
    connection.execute(
        f"CREATE TABLE {quote(record.rows)} (fid INTEGER PRIMARY KEY NOT NULL, source INTEGER, seen INTEGER, "
        "hash BLOB, single INTEGER)"
    )
    connection.execute(f"CREATE INDEX {quote(record.rows + '_source')} ON {quote(record.rows)} (source)")
    for mesh in (record.mesh, record.mesh_history):
        connection.execute(
            f"CREATE TABLE {quote(mesh)} (fid INTEGER PRIMARY KEY NOT NULL, min_x DOUBLE, min_y DOUBLE, min_z DOUBLE, "
            "max_x DOUBLE, max_y DOUBLE, max_z DOUBLE, size INTEGER)"
        )
    # blobs apart from bounds, so that the bounds of a million meshes are read without paging through the blobs
    connection.execute(f"CREATE TABLE {quote(record.mesh_blob)} (fid INTEGER PRIMARY KEY NOT NULL, mesh BLOB)")
    title = record.type.title.zh
    description = f"{record.type.title.en} ({record.type.id})"
    is_taken = connection.execute("SELECT 1 FROM gpkg_contents WHERE identifier = ?", (title,)).fetchone()
    identifier = f"{title} {record.table}" if is_taken else title
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) VALUES (?, ?, ?, ?, ?)",
        (
            record.table,
            "features" if record.has_geometry else "attributes",
            identifier,
            description,
            srs_id if record.has_geometry else None,
        ),
    )
    connection.execute("INSERT INTO gpkg_ogr_contents VALUES (?, 0)", (record.table,))
    if record.has_geometry:
        connection.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, ?, 0)",
            (
                record.table,
                GEOMETRY,
                column_type(record.type.geometry, set()),
                srs_id,
                dimension_flags(record.type.geometry, set())[0],
            ),
        )
        for rtree in (record.rtree, record.history_rtree):
            connection.execute(f"CREATE VIRTUAL TABLE {quote(rtree)} USING rtree(id, minx, maxx, miny, maxy)")
        connection.execute(_EXTENSION, (record.table, GEOMETRY, "gpkg_rtree_index", _RTREE_DEFINITION, "write-only"))
        execute_all(connection, rtree_triggers(record))
    for own in (record.history, record.rows, record.mesh, record.mesh_history, record.mesh_blob):
        connection.execute(_EXTENSION, (own, None, "citytwin_store", _OWN_DEFINITION, "write-only"))
    execute_all(connection, own_triggers(record))
    connection.execute("INSERT OR REPLACE INTO gpkg_citytwin_change_log VALUES (?, 0, 0)", (record.type.id,))


def column_sql(record: LayerRecord, attribute: Attribute) -> str:
    """Name and type of an attribute's column, for CREATE TABLE and ALTER TABLE."""
    return f"{quote(record.columns[attribute.name])} {SQL_TYPES[attribute.type]}"


def add_column(connection: sqlite3.Connection, record: LayerRecord, attribute: Attribute) -> None:
    """Widen a layer by one attribute, in the current table and in the history."""
    for table in (record.table, record.history):
        connection.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {column_sql(record, attribute)}")


def retype_column(connection: sqlite3.Connection, record: LayerRecord, attribute: Attribute, old_type: str) -> None:
    """Give an attribute's column a wider type and convert what it holds."""
    column = quote(record.columns[attribute.name])
    value = f"CAST({column} AS {'REAL' if attribute.type == 'number' else 'TEXT'})"
    if old_type == "boolean":
        value = f"CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"
    # a column of an index cannot be dropped; the store makes the index again
    connection.execute(f"DROP INDEX IF EXISTS {quote(record.rows + '_series')}")
    for table in (quote(record.table), quote(record.history)):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN citytwin_wider {SQL_TYPES[attribute.type]}")
        connection.execute(f"UPDATE {table} SET citytwin_wider = {value} WHERE {column} IS NOT NULL")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN citytwin_wider TO {column}")


def rtree_triggers(record: LayerRecord) -> str:
    """The triggers of the R-tree extension (annex F.3), one statement after the other."""
    table, rtree, g = quote(record.table), quote(record.rtree), GEOMETRY
    new = f"NEW.fid, ST_MinX(NEW.{g}), ST_MaxX(NEW.{g}), ST_MinY(NEW.{g}), ST_MaxY(NEW.{g})"
    full, void = f"(NEW.{g} NOT NULL AND NOT ST_IsEmpty(NEW.{g}))", f"(NEW.{g} ISNULL OR ST_IsEmpty(NEW.{g}))"
    put = f"INSERT OR REPLACE INTO {rtree} VALUES ({new});"
    drop = f"DELETE FROM {rtree} WHERE id = OLD.fid;"
    both = f"DELETE FROM {rtree} WHERE id IN (OLD.fid, NEW.fid);"
    triggers = {
        "insert": f"AFTER INSERT ON {table} WHEN {full} BEGIN {put} END;",
        "update1": f"AFTER UPDATE OF {g} ON {table} WHEN OLD.fid = NEW.fid AND {full} BEGIN {put} END;",
        "update2": f"AFTER UPDATE OF {g} ON {table} WHEN OLD.fid = NEW.fid AND {void} BEGIN {drop} END;",
        "update3": f"AFTER UPDATE ON {table} WHEN OLD.fid != NEW.fid AND {full} BEGIN {drop} {put} END;",
        "update4": f"AFTER UPDATE ON {table} WHEN OLD.fid != NEW.fid AND {void} BEGIN {both} END;",
        "delete": f"AFTER DELETE ON {table} WHEN OLD.{g} NOT NULL BEGIN {drop} END;",
    }
    return "".join(f"CREATE TRIGGER {quote(f'{record.rtree}_{name}')} {body}\n" for name, body in triggers.items())


def own_triggers(record: LayerRecord) -> str:
    """Triggers for edits from outside: feature count, version counters, row facts and meshes of deleted rows.

    The store itself writes with triggers switched off.
    """
    table, literal = quote(record.table), "'" + record.table.replace("'", "''") + "'"
    grown = "UPDATE gpkg_citytwin_meta SET value = value + 1 WHERE key = 'version';"
    grown += (
        " UPDATE gpkg_citytwin_layer SET version = (SELECT value FROM gpkg_citytwin_meta WHERE key = 'version')"
        f" WHERE table_name = {literal};"
    )
    count = "UPDATE gpkg_ogr_contents SET feature_count = feature_count {} 1 WHERE lower(table_name) = lower({});"
    forget = (
        f" UPDATE gpkg_citytwin_layer SET mesh_count = mesh_count - (SELECT count(*) FROM {quote(record.mesh)}"
        f" WHERE fid = OLD.fid) WHERE table_name = {literal};"
    )
    own = (record.rows, record.mesh, record.mesh_blob)
    forget += "".join(f" DELETE FROM {quote(name)} WHERE fid = OLD.fid;" for name in own)
    add, take = count.format("+", literal), count.format("-", literal)
    log = change_log.trigger_bodies(record)
    new, old = blocks.unmeasured(record, "NEW"), blocks.unmeasured(record, "OLD")
    away, there = blocks.unpacked(record, "OLD"), blocks.unpacked(record, "NEW")
    same, moved = "WHEN OLD.fid = NEW.fid", "WHEN OLD.fid != NEW.fid"
    bodies = (
        f"AFTER INSERT ON {table} BEGIN {add} END;",
        f"AFTER DELETE ON {table} BEGIN {take} END;",
        f"AFTER INSERT ON {table} BEGIN {grown}{new}{log['insert']} END;",
        f"AFTER UPDATE ON {table} {same} BEGIN {grown}{new}{log['update']} END;",
        f"AFTER UPDATE ON {table} {moved} BEGIN {grown}{new}{old}{away}{there}{log['renumber']} END;",
        f"AFTER DELETE ON {table} BEGIN {grown}{old}{away}{log['delete']}{forget} END;",
    )
    pairs = zip(trigger_names(record), bodies, strict=True)
    return "".join(f"CREATE TRIGGER {quote(name)} {body}\n" for name, body in pairs)


def trigger_names(record: LayerRecord) -> list[str]:
    """Names of `own_triggers`, in their order; GDAL knows the first two by name."""
    names = ("trigger_insert_feature_count_", "trigger_delete_feature_count_", "citytwin_insert_", "citytwin_update_",
             "citytwin_renumber_", "citytwin_delete_")  # fmt: skip
    return [f"{name}{record.table}" for name in names]
