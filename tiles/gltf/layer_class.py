"""A layer type -> the metadata class that its features have in every tile (EXT_structural_metadata).

The class follows from the layer type alone, never from the values of a tile, so that it is the same in all tiles and
in a schema of its own (`schema`). Types: number FLOAT64; integer INT32 where the declared bounds fit, else FLOAT64,
which is exact to 2^53 (CesiumJS reads INT64 as BigInt: its noData never matches and its styles refuse it); boolean
UINT8 0 or 1, as BOOLEAN may have no noData; coded values ENUM; everything else STRING. Every type has a noData. What
its type cannot hold (a code outside the list, an integer beyond the range, infinity) is noData there and stands in
the property `other`, a JSON object by attribute name.

Spec: OGC 22-025r4 (3D Metadata), EXT_structural_metadata 1.0.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from layers.catalogue import Attribute, LayerType

NO_NUMBER = -1e308
NO_INT32 = -(2**31)
NO_BOOLEAN = 255
MAX_EXACT = 2**53
"""Integers up to here, either side of 0, are numbers of JavaScript."""

Kind = Literal["FLOAT64", "INT32", "BOOLEAN", "ENUM", "STRING"]


@dataclass(frozen=True)
class Property:
    """One property of the class.

    Attributes
    ----------
    key : ASCII identifier, unique in the class; the attribute's name where that is one
    attribute : the column it is read from
    kind : how its values are stored
    is_integer : whole numbers, also where they are stored as FLOAT64
    codes : of an ENUM, the values that its entries stand for, in order; entry i has the number `code_values[i]`
    code_values : of an ENUM; the last one is that of its noData entry
    """

    key: str
    attribute: str
    kind: Kind
    is_integer: bool = False
    codes: tuple[str, ...] = ()
    code_values: tuple[int, ...] = ()
    enum_type: str = "UINT8"


@dataclass(frozen=True)
class LayerClass:
    """The class of a layer: its properties by position, and the schema that says so to a reader."""

    id: str
    properties: tuple[Property, ...]
    other: str
    schema: dict[str, Any]


_KEPT = 256
_kept: dict[int, tuple[LayerType, LayerClass]] = {}


def layer_class(layer: LayerType) -> LayerClass:
    """The class of a layer type: `id`, `layer`, every attribute, `other`. Kept, as every tile asks for it."""
    known = _kept.get(id(layer))
    # a layer type holds dictionaries and has no hash; while it is kept here no other object can have its id
    if known is not None and known[0] is layer:
        return known[1]
    if len(_kept) >= _KEPT:
        _kept.clear()
    made = _made(layer)
    _kept[id(layer)] = (layer, made)
    return made


def _made(layer: LayerType) -> LayerClass:
    class_id = _identifier(layer.id, "layer", ())
    taken: dict[str, dict[str, Any]] = {
        "id": {"name": "id", "type": "STRING", "required": True, "semantic": "ID"},
        "layer": {"name": "layer", "type": "ENUM", "enumType": "layer", "required": True},
    }
    layer_enum = {"valueType": "UINT8", "values": [{"name": layer.id, "value": 0, "description": _title(layer.title)}]}
    enums: dict[str, dict[str, Any]] = {"layer": layer_enum}
    made = []
    for position, attribute in enumerate(layer.attributes):
        if attribute.name in taken and attribute.name in {"id", "layer"}:
            continue  # the store's own id and the layer's id stand in their place
        key = _identifier(attribute.name, f"p{position}", taken)
        each, enum = _property(key, attribute)
        made.append(each)
        taken[key] = _described(each, attribute)
        if enum is not None:
            enums[key] = enum
    other = _identifier("other", "other", taken)
    taken[other] = {
        "name": other,
        "description": "Values that their own property cannot hold: JSON object by attribute name",
        "type": "STRING",
        "noData": "",
    }
    schema = {
        "id": f"citytwin_{class_id}",
        "classes": {class_id: {"name": layer.title.en, "description": layer.title.zh, "properties": taken}},
        "enums": enums,
    }
    return LayerClass(class_id, tuple(made), other, schema)


def schema(layer: LayerType) -> dict[str, Any]:
    """The schema object of a layer: the same in a glb, in a tileset, or behind a `schemaUri`."""
    return layer_class(layer).schema


def _property(key: str, attribute: Attribute) -> tuple[Property, dict[str, Any] | None]:
    if _is_coded(attribute):
        return _coded(key, attribute)
    if attribute.type == "integer":
        return Property(key, attribute.name, "INT32" if _fits_int32(attribute) else "FLOAT64", True), None
    kinds: dict[str, Kind] = {"number": "FLOAT64", "boolean": "BOOLEAN"}
    return Property(key, attribute.name, kinds.get(attribute.type, "STRING")), None


def _is_coded(attribute: Attribute) -> bool:
    if attribute.type == "integer":
        return bool(attribute.codes) and all(re.fullmatch(r"-?[0-9]{1,18}", code) for code in attribute.codes)
    return bool(attribute.codes) and attribute.type == "string"


def _fits_int32(attribute: Attribute) -> bool:
    low, high = attribute.minimum, attribute.maximum
    return low is not None and high is not None and low > NO_INT32 and high < 2**31


def _coded(key: str, attribute: Attribute) -> tuple[Property, dict[str, Any]]:
    """An ENUM whose names are the codes, so that a reader gets what the table says; integers keep their number."""
    codes = tuple(attribute.codes)
    is_integer = attribute.type == "integer"
    values = [int(code) for code in codes] if is_integer else list(range(1, len(codes) + 1))
    nothing = next(n for n in range(len(codes) + 1) if n not in set(values))
    enum_type = _enum_type([*values, nothing])
    entries = [
        {"name": code, "value": value, "description": _title(attribute.codes[code])}
        for code, value in zip(codes, values, strict=True)
    ]
    enum = {"valueType": enum_type, "values": [*entries, {"name": _no_code(attribute), "value": nothing}]}
    return Property(key, attribute.name, "ENUM", is_integer, codes, (*values, nothing), enum_type), enum


def _no_code(attribute: Attribute) -> str:
    """The name of the entry for no value; no code of the attribute has it."""
    name = "noData"
    while name in attribute.codes:
        name += "_"
    return name


def _enum_type(values: list[int]) -> str:
    low, high = min(values), max(values)
    for bits in (8, 16, 32):
        if low >= 0 and high < 2**bits:
            return f"UINT{bits}"
        if low >= -(2 ** (bits - 1)) and high < 2 ** (bits - 1):
            return f"INT{bits}"
    return "INT64"


def _described(each: Property, attribute: Attribute) -> dict[str, Any]:
    """The class property: `name` is the attribute's own, its titles and unit are the description."""
    types: dict[str, dict[str, Any]] = {
        "FLOAT64": {"type": "SCALAR", "componentType": "FLOAT64", "noData": NO_NUMBER},
        "INT32": {"type": "SCALAR", "componentType": "INT32", "noData": NO_INT32},
        "BOOLEAN": {"type": "SCALAR", "componentType": "UINT8", "noData": NO_BOOLEAN},
        "STRING": {"type": "STRING", "noData": ""},
    }
    title = _title(attribute.title)
    described = {"name": attribute.name, "description": f"{title}, {attribute.unit}" if attribute.unit else title}
    if each.kind == "ENUM":
        described |= {"type": "ENUM", "enumType": each.key, "noData": _no_code(attribute)}
    else:
        described |= types[each.kind]
    if attribute.name == "name" and each.kind == "STRING":
        described["semantic"] = "NAME"
    return described


def _title(title: Any) -> str:
    return title.zh if title.zh == title.en else f"{title.en} {title.zh}"


def _identifier(name: str, fallback: str, taken: Any) -> str:
    """The spec allows only ASCII identifiers; the full name stays in `name`."""
    key = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", key, flags=re.ASCII) or not key.strip("_"):
        key = fallback
    while key in taken:
        key += "_"
    return key
