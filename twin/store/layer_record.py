"""A layer as the store remembers it: its type as JSON, so that layers unknown to the catalogue survive."""

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson

from layers.catalogue import Attribute, LayerType, Title
from twin.store.columns import column_names, common_type
from twin.store.geometry_kind import Kind, column_type

GEOMETRY = "geom"
_HIDDEN = "gpkg_citytwin_"
"""GDAL and QGIS show every table but those registered elsewhere or named `gpkg_…`, as GDAL names its own."""
_RESERVED = ("gpkg_", "rtree_", "sqlite_", "citytwin_", "ogr_", "trigger_")


@dataclass(frozen=True)
class LayerRecord:
    """Row of `gpkg_citytwin_layer`.

    `columns` maps attribute names to column names, in the order they were added; `kinds` is every geometry kind the
    layer ever held.
    """

    type: LayerType
    table: str
    columns: dict[str, str] = field(default_factory=dict)
    kinds: frozenset[Kind] = frozenset()

    @property
    def column_type(self) -> str:
        """What the geometry column is declared with."""
        return column_type(self.type.geometry, set(self.kinds))

    @property
    def has_geometry(self) -> bool:
        """False for layers that are plain tables."""
        return self.type.geometry != "none"

    @property
    def history(self) -> str:
        """Table of closed versions."""
        return f"{_HIDDEN}{self.table}_history"

    @property
    def rows(self) -> str:
        """Table of what the store knows of each current row and users need not see: source, content hash."""
        return f"{_HIDDEN}{self.table}_row"

    @property
    def mesh(self) -> str:
        """Table of mesh bounds of current rows."""
        return f"{_HIDDEN}{self.table}_mesh"

    @property
    def mesh_history(self) -> str:
        """Table of mesh bounds of closed versions."""
        return f"{_HIDDEN}{self.table}_mesh_history"

    @property
    def mesh_blob(self) -> str:
        """Table of mesh blobs, of current rows and closed versions."""
        return f"{_HIDDEN}{self.table}_mesh_blob"

    @property
    def rtree(self) -> str:
        """R-tree of current rows."""
        return f"rtree_{self.table}_{GEOMETRY}"

    @property
    def history_rtree(self) -> str:
        """R-tree of closed versions."""
        return f"rtree_{self.table}_history_{GEOMETRY}"


def table_name(layer_id: str, taken: set[str]) -> str:
    """The layer's id, or `layer_N_id` where that name is reserved or SQLite (case-blind) would see it twice."""
    name, n = layer_id.replace("\0", ""), 0
    while not name or name.casefold().startswith(_RESERVED) or name.casefold() in taken:
        n += 1
        name = f"layer_{n}_{layer_id}".replace("\0", "")
    return name


def merged(old: LayerType, new: LayerType) -> LayerType:
    """The new type with every attribute the old one has besides, types wide enough for both."""
    merged_attributes = [
        attribute if (before := old.attribute(attribute.name)) is None
        else replace(attribute, type=common_type(before.type, attribute.type))
        for attribute in new.attributes
    ]  # fmt: skip
    names = {attribute.name for attribute in new.attributes}
    kept = [attribute for attribute in old.attributes if attribute.name not in names]
    geometry = old.geometry if new.geometry in {old.geometry, "none"} else new.geometry
    return replace(new, geometry=geometry, attributes=(*merged_attributes, *kept))


def new_record(layer_type: LayerType, taken: set[str]) -> LayerRecord:
    """Record of a layer that is about to be created."""
    columns = column_names(layer_type.attributes, {})
    return LayerRecord(layer_type, table_name(layer_type.id, taken), columns)


def to_json(layer_type: LayerType) -> bytes:
    """A layer type as a JSON object."""
    return orjson.dumps(asdict(layer_type))


@lru_cache(maxsize=512)
def from_json(text: str | bytes) -> LayerType:
    """The inverse of `to_json`. A layer type is never altered, so equal text gives the same one."""
    row: dict[str, Any] = orjson.loads(text)
    attributes = tuple(_attribute(each) for each in row.pop("attributes"))
    title, description = Title(**row.pop("title")), row.pop("description")
    lists: dict[str, Any] = {key: tuple(row.pop(key)) for key in ("level", "tokens", "id_from")}
    return LayerType(
        title=title,
        attributes=attributes,
        description=Title(**description) if description else None,
        **lists,
        **row,
    )


def _attribute(row: dict[str, Any]) -> Attribute:
    codes = {code: Title(**title) for code, title in row["codes"].items()}
    return Attribute(**{**row, "title": Title(**row["title"]), "codes": codes, "aliases": tuple(row["aliases"])})
