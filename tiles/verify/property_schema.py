"""The schema of 3D Metadata, as 3D Tiles 1.1 and EXT_structural_metadata share it: classes, properties, enums."""

import re
from typing import Any

import numpy as np

from tiles.verify.findings import Findings
from tiles.verify.json_text import child, is_count, is_number, objects, pick

COMPONENTS: dict[str, np.dtype[Any]] = {
    "INT8": np.dtype("i1"), "UINT8": np.dtype("u1"), "INT16": np.dtype("<i2"), "UINT16": np.dtype("<u2"),
    "INT32": np.dtype("<i4"), "UINT32": np.dtype("<u4"), "INT64": np.dtype("<i8"), "UINT64": np.dtype("<u8"),
    "FLOAT32": np.dtype("<f4"), "FLOAT64": np.dtype("<f8"),
}  # fmt: skip
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
TYPES = {name: name for name in (*WIDTHS, "STRING", "BOOLEAN", "ENUM")}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_schema(findings: Findings, where: str, schema: Any) -> dict[str, Any]:
    """The schema itself, {} where it is no object; what is wrong becomes findings."""

    def bad(at: str, words: str) -> None:
        findings.add("METADATA_SCHEMA", f"{where}{at}", words)

    if not isinstance(schema, dict):
        bad("", "schema is not an object.")
        return {}
    if not _is_name(schema.get("id")):
        bad("/id", f"The schema's id is {schema.get('id')!r}.")
    enums, classes = child(schema, "enums"), child(schema, "classes")
    for name, enum in enums.items():
        _check_enum(bad, f"/enums/{name}", name, enum)
    for name, of_class in classes.items():
        if not _is_name(name) or not isinstance(of_class, dict):
            bad(f"/classes/{name}", f"Class {name!r} has no legal name or is not an object.")
        semantics: set[str] = set()
        for key, prop in child(of_class, "properties").items():
            at = f"/classes/{name}/properties/{key}"
            if not _is_name(key) or not isinstance(prop, dict):
                bad(at, f"Property {key!r} has no legal name or is not an object.")
                continue
            _check_property(bad, at, prop, enums)
            _check_no_data(findings, f"{where}{at}", prop, enums)
            semantic = prop.get("semantic")
            if isinstance(semantic, str) and semantic in semantics:
                bad(at, f"Semantic {semantic} is there twice in the class.")
            semantics |= {str(semantic)} if semantic is not None else set()
    return schema


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _check_enum(bad: Any, at: str, name: str, enum: Any) -> None:
    values = enum.get("values") if isinstance(enum, dict) else None
    if not _is_name(name) or not isinstance(values, list) or not values:
        bad(at, f"Enum {name!r} has no legal name or no values.")
        return
    kind = pick(COMPONENTS, enum.get("valueType", "UINT16"))
    if kind is None or kind.kind not in "iu":
        bad(at, f"valueType {enum.get('valueType')!r} is not a whole-number type.")
        return
    limits = np.iinfo(kind)
    names, codes = set(), set()
    for entry in values:
        label, code = child(entry).get("name"), child(entry).get("value")
        if not isinstance(label, str) or not isinstance(code, int) or not int(limits.min) <= code <= int(limits.max):
            bad(at, f"Value {entry!r} has no name or no whole number of {kind}.")
        elif label in names or code in codes:
            bad(at, f"Value {entry!r} is there twice.")
        names.add(str(label))
        codes.add(code if isinstance(code, int) else None)


def _check_property(bad: Any, at: str, prop: dict[str, Any], enums: dict[str, Any]) -> None:
    kind, component = prop.get("type"), prop.get("componentType")
    if pick(TYPES, kind) is None:
        bad(at, f"type is {kind!r}.")
    elif kind in WIDTHS and pick(COMPONENTS, component) is None:
        bad(at, f"{kind} has componentType {component!r}.")
    elif kind not in WIDTHS and component is not None:
        bad(at, f"{kind} has a componentType.")
    if kind == "ENUM" and str(prop.get("enumType")) not in enums:
        bad(at, f"enumType {prop.get('enumType')!r} is not an enum of the schema.")
    if prop.get("normalized") and (str(kind) not in WIDTHS or str(component).startswith("FLOAT")):
        bad(at, "Only whole numbers can be normalized.")
    if "count" in prop and not (prop.get("array") and is_count(prop["count"], 2 if kind != "SCALAR" else 1)):
        bad(at, f"count is {prop['count']!r}.")
    for key in ("array", "normalized", "required"):
        if key in prop and not isinstance(prop[key], bool):
            bad(at, f"{key} is {prop[key]!r}.")


def _check_no_data(findings: Findings, where: str, prop: dict[str, Any], enums: dict[str, Any]) -> None:
    if "noData" not in prop:
        return
    value, kind = prop["noData"], prop.get("type")
    if kind == "BOOLEAN" or prop.get("required"):
        findings.add("METADATA_NODATA", where, "BOOLEAN and required properties have no noData.")
    elif prop.get("array"):
        if not isinstance(value, list):
            findings.add("METADATA_NODATA", where, f"noData {value!r} is not an array.")
    elif not fits(value, prop, enums):
        findings.add(
            "METADATA_NODATA", where, f"noData {value!r} is not a value of {kind} {prop.get('componentType')}."
        )


def fits(value: Any, prop: dict[str, Any], enums: dict[str, Any]) -> bool:
    """Whether a JSON value is one element of the property's type."""
    kind = prop.get("type")
    if kind == "STRING":
        return isinstance(value, str)
    if kind == "BOOLEAN":
        return isinstance(value, bool)
    if kind == "ENUM":
        return value in [each.get("name") for each in objects(child(enums, str(prop.get("enumType"))).get("values"))]
    width = WIDTHS.get(str(kind), 0)
    component = COMPONENTS.get(str(prop.get("componentType")))
    parts = value if isinstance(value, list) else [value]
    if component is None or len(parts) != width or (width > 1) != isinstance(value, list):
        return False
    return all(is_number(part) and _in_range(part, component) for part in parts)


def _in_range(value: float, component: np.dtype[Any]) -> bool:
    if component.kind == "f":
        return abs(value) <= float(np.finfo(component).max)
    limits = np.iinfo(component)
    return value == int(value) and int(limits.min) <= value <= int(limits.max)


def check_entity(findings: Findings, where: str, entity: Any, schema: dict[str, Any]) -> None:
    """A `metadata` object of a tileset, tile or content: its class, and JSON values of the right type."""
    of_class = child(schema, "classes").get(str(entity.get("class"))) if isinstance(entity, dict) else None
    if not isinstance(of_class, dict):
        name = entity.get("class") if isinstance(entity, dict) else None
        findings.add("TILESET_METADATA", where, f"Class {name!r} is not in the schema.")
        return
    properties, values = child(of_class, "properties"), child(entity, "properties")
    for key, value in values.items():
        prop = properties.get(key)
        if not isinstance(prop, dict):
            findings.add("TILESET_METADATA", where, f"Property {key!r} is not in class {entity['class']!r}.")
        elif value is not None and not _entity_value(value, prop, schema):
            findings.add("TILESET_METADATA", where, f"{key} is {str(value)[:80]}, not {prop.get('type')}.")
        elif value is not None and not _between(value, prop):
            findings.add("TILESET_METADATA", where, f"{key} is {str(value)[:80]}, beyond min or max.")
    for key, prop in properties.items():
        if isinstance(prop, dict) and prop.get("required") and values.get(key) is None:
            findings.add("TILESET_METADATA", where, f"Required property {key!r} is missing.")


def _entity_value(value: Any, prop: dict[str, Any], schema: dict[str, Any]) -> bool:
    enums = child(schema, "enums")
    parts = value if prop.get("array") else [value]
    if not isinstance(parts, list) or (prop.get("array") and prop.get("count", len(parts)) != len(parts)):
        return False
    return all(fits(part, prop, enums) for part in parts)


def _between(value: Any, prop: dict[str, Any]) -> bool:
    """Whether a JSON value of a number type lies in min..max, after normalization, scale and offset."""
    if str(prop.get("type")) not in WIDTHS or prop.get("array") or not {"min", "max"} & set(prop):
        return True
    made = np.asarray(value, np.float64)
    component = COMPONENTS[prop["componentType"]]
    if prop.get("normalized"):
        made = np.maximum(made / np.iinfo(component).max, -1)
    try:
        made = made * np.asarray(prop.get("scale", 1), float) + np.asarray(prop.get("offset", 0), float)
        low, high = (np.asarray(prop.get(key, none), float) for key, none in (("min", -np.inf), ("max", np.inf)))
        return bool(((made >= low) & (made <= high)).all())
    except (TypeError, ValueError, OverflowError):
        return False
