"""Metadata of a tileset document against its schema (OGC 22-025r4, clause 7.6, and its 3D Metadata annex).

Clients draw a set with faulty metadata, so that everything here is a warning and nothing is changed.
"""

from typing import Any

from ingest.tileset.json import Document, Tile

_RANGES = {f"{'U' if low == 0 else ''}INT{bits}": (low, high) for bits in (8, 16, 32, 64)
           for low, high in ((0, 2**bits - 1), (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))}  # fmt: skip
CODE = "TILESET_METADATA"


def check(document: Document) -> None:
    """Schema, groups, statistics and the set's own metadata."""
    body = document.body
    schema = body.get("schema")
    if schema is not None and (not isinstance(schema, dict) or not isinstance(schema.get("id"), str)):
        document.tell(CODE, "/schema/id", "The schema has no id.")
    for number, group in enumerate(body["groups"] if isinstance(body.get("groups"), list) else []):
        _entity(document, f"/groups/{number}", group)
    if "metadata" in body:
        _entity(document, "/metadata", body["metadata"])
    statistics = body.get("statistics")
    for name, each in _items(statistics.get("classes") if isinstance(statistics, dict) else None):
        where = f"/statistics/classes/{name}"
        if not isinstance(each, dict):
            document.tell(CODE, where, "It is not an object.")
            continue
        known = _classes(document).get(name)
        if not isinstance(known, dict):
            document.tell(CODE, where, "The schema has no such class.")
        properties = each.get("properties", {})
        if "properties" in each and not properties:
            document.tell(CODE, f"{where}/properties", "It is empty.")
        for key in _items(properties):
            if isinstance(known, dict) and key[0] not in dict(_items(known.get("properties"))):
                document.tell(CODE, f"{where}/properties/{key[0]}", "The class has no such property.")


def check_tile(document: Document, tile: Tile) -> None:
    """The metadata of one tile."""
    if "metadata" in tile.body:
        _entity(document, f"{tile.path}/metadata", tile.body["metadata"])


def _items(given: Any) -> list[tuple[str, Any]]:
    return list(given.items()) if isinstance(given, dict) else []


def _classes(document: Document) -> dict[str, Any]:
    schema = document.body.get("schema")
    classes = schema.get("classes") if isinstance(schema, dict) else None
    return classes if isinstance(classes, dict) else {}


def _entity(document: Document, path: str, entity: Any) -> None:
    class_name = entity.get("class") if isinstance(entity, dict) else None
    if not isinstance(class_name, str):
        document.tell(CODE, f"{path}/class", f"The class is {class_name!r}, not a name.")
        return
    if "schemaUri" in document.body and "schema" not in document.body:
        return
    kind = _classes(document).get(class_name)
    if not isinstance(kind, dict):
        document.tell(CODE, f"{path}/class", f"The schema has no class {class_name[:60]!r}.")
        return
    values = entity.get("properties")
    values = values if isinstance(values, dict) else {}
    for name, property_ in _items(kind.get("properties")):
        if not isinstance(property_, dict):
            continue
        if name in values and values[name] is not None:
            _value(document, f"{path}/properties/{name}", property_, values[name])
        elif property_.get("required") and property_.get("noData") is None:
            document.tell(CODE, f"{path}/properties/{name}", "It is required and has no value.")


def _value(document: Document, path: str, property_: dict[str, Any], value: Any) -> None:
    """Every number within the range of its component type and between min and max, after offset and scale."""
    component = property_.get("componentType")
    span = _RANGES.get(component) if isinstance(component, str) else None
    rows = value if isinstance(value, list) else [value]
    for each in rows:
        if not isinstance(each, int | float) or isinstance(each, bool):
            continue
        if span is not None and not span[0] <= each <= span[1]:
            document.tell(CODE, path, f"{each} does not fit into {component}.")
            return
        true = each / span[1] if property_.get("normalized") and span is not None else each
        offset, scale = property_.get("offset", 0), property_.get("scale", 1)
        if all(isinstance(one, int | float) for one in (offset, scale)):
            true = true * scale + offset
        low, high = property_.get("min"), property_.get("max")
        below = isinstance(low, int | float) and true < low
        if below or (isinstance(high, int | float) and true > high):
            document.tell(CODE, path, f"{true} is outside {low} … {high}.")
            return
