"""The form of an analysis: which kind of field an input gets, from its JSON schema alone."""

from collections.abc import Mapping
from typing import Any

from server.serving import Snapshot

SCALARS = {"string": "words", "number": "numbers", "integer": "numbers"}
"""Types of the items of a list that is written with commas, and what they are read as."""


def kind(schema: Mapping[str, Any], *, many: bool = False) -> str:
    """Kind of field.

    `choice`, `switch`, `number`, `text`; `words` or `numbers` for lists written with commas; `some` for several of a
    few; `features` for a layer, a filter and a box, or GeoJSON; `raster` for a raster layer; `loose` for JSON that may
    be plain text; `json` for all else. `many`: the input takes several values.
    """
    if _is_features(schema):
        return "features"
    if many:
        schema = {"type": "array", "items": schema}
    if schema.get("enum"):
        return "choice"
    if schema.get("type") == "array":
        items = schema.get("items")
        items = items if isinstance(items, Mapping) else {}
        if items.get("enum"):
            return "some"
        return SCALARS.get(str(items.get("type")), "json")
    if "collection" in schema.get("properties", {}):
        return "raster"
    if "oneOf" in schema or "anyOf" in schema:
        return "loose"
    known = {"boolean": "switch", "number": "number", "integer": "number", "string": "text"}
    return known.get(str(schema.get("type")), "json")


def _is_features(schema: Mapping[str, Any]) -> bool:
    branches = [*schema.get("oneOf", ()), *schema.get("anyOf", ()), schema]
    return any({"collection", "filter"} <= set(each.get("properties", ())) for each in branches)


def fields(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each input of a description: the kind of its field, whether it must be filled in, how many it takes."""
    made = {}
    for name, each in document["inputs"].items():
        most = each.get("maxOccurs", 1)
        many = most not in {1, "1"}
        made[name] = {
            "kind": kind(each["schema"], many=many),
            "required": each.get("minOccurs", 1) not in {0, "0"},
            "most": most if many else 1,
        }
    return made


def layers(city: Snapshot, code: str) -> dict[str, list[tuple[str, str]]]:
    """(id, title) of what can be chosen: layers with features, and rasters."""
    features = [(key, getattr(info.type.title, code)) for key, info in city.vectors.items() if info.count]
    rasters = [
        (key, getattr(layer.type.title, code)) for key, layer in city.files.items() if layer.assets[0].kind == "raster"
    ]
    return {"features": features, "raster": rasters}


def files(document: Mapping[str, Any]) -> list[str]:
    """Outputs that are files: they are asked for as links."""
    kinds = {name: str(each["schema"].get("contentMediaType", "")) for name, each in document["outputs"].items()}
    return [name for name, each in kinds.items() if each and "json" not in each and not each.startswith("text/plain")]
