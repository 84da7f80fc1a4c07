"""EXT_mesh_features, EXT_instance_features and EXT_structural_metadata of a glTF."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tiles.verify.gltf_buffers import COMPONENTS as GLTF_COMPONENTS
from tiles.verify.gltf_buffers import Buffers
from tiles.verify.gltf_scene import Scene
from tiles.verify.json_text import child, is_count, objects
from tiles.verify.property_schema import COMPONENTS, check_schema
from tiles.verify.property_table import Column, check_table

_METADATA = "EXT_structural_metadata"
Ids = list[tuple[str, Any]]
"""(class, id) of each feature."""


def check_features(buffers: Buffers, scene: Scene, fetch_schema: Callable[[str], dict[str, Any] | None]) -> Ids:
    """All of it; gives the ids of the features whose class has a property with the semantic ID."""
    said = child(buffers.document, "extensions", _METADATA)
    schema = _schema(buffers, said, fetch_schema) if said else {}
    tables = said.get("propertyTables", [])
    ids: Ids = []
    counts = []
    for i, table in enumerate(tables if isinstance(tables, list) else []):
        where = f"/extensions/{_METADATA}/propertyTables/{i}"
        _check_alignment(buffers, where, table)
        columns = check_table(buffers.findings, f"{buffers.where}#{where}", table, schema, _view_of(buffers))
        ids += _ids(str(child(table).get("class")), columns)
        counts.append(table["count"] if isinstance(table, dict) and is_count(table.get("count")) else 0)
    attributes = _PropertyAttributes(buffers, schema, objects(said.get("propertyAttributes")))
    for m, mesh in enumerate(objects(buffers.document.get("meshes"))):
        for p, primitive in enumerate(objects(mesh.get("primitives"))):
            at = f"/meshes/{m}/primitives/{p}"
            names = child(primitive, "attributes")
            sets = child(primitive, "extensions", "EXT_mesh_features").get("featureIds")
            if sets is not None:
                _check_sets(buffers, at, sets, counts, names, names.get("POSITION"))
            attributes.check(at, primitive)
    _check_instances(buffers, scene, counts)
    return ids


def _schema(buffers: Buffers, said: dict[str, Any], fetch: Callable[[str], dict[str, Any] | None]) -> dict[str, Any]:
    where = f"{buffers.where}#/extensions/{_METADATA}"
    if "schema" in said:
        return check_schema(buffers.findings, f"{where}/schema", said["schema"])
    if isinstance(said.get("schemaUri"), str):
        read = fetch(said["schemaUri"])
        return check_schema(buffers.findings, said["schemaUri"], read) if read is not None else {}
    buffers.bad("METADATA_SCHEMA", f"/extensions/{_METADATA}", "There is neither schema nor schemaUri.")
    return {}


def _view_of(buffers: Buffers) -> Callable[[int], bytes | None]:
    n = len(objects(buffers.document.get("bufferViews")))
    return lambda index: buffers.view(index) if index < n else None


def _check_alignment(buffers: Buffers, at: str, table: Any) -> None:
    views = objects(buffers.document.get("bufferViews"))
    for entry in child(table, "properties").values():
        for key in ("values", "stringOffsets", "arrayOffsets"):
            index = child(entry).get(key)
            if is_count(index) and index < len(views):
                start = views[index].get("byteOffset", 0)
                if not is_count(start) or start % 8:
                    buffers.bad("METADATA_ALIGNMENT", at, f"Buffer view {index} starts at byte {start!r}.")
                    return


def _ids(name: str, columns: dict[str, Column]) -> Ids:
    found = [each for each in columns.values() if each.prop.get("semantic") == "ID"]
    no_data = [each.prop.get("noData") for each in found]
    values = [each.values() for each in found]
    return [(name, value) for column, none in zip(values, no_data, strict=True) for value in column if value != none]


def _check_sets(  # noqa: PLR0917
    buffers: Buffers, at: str, sets: Any, counts: list[int], attributes: dict[str, Any], implicit: Any
) -> None:
    """Feature id sets of a primitive or of instances; `implicit` is the accessor whose count numbers them."""
    for i, entry in enumerate(objects(sets) or [{}]):
        where = f"{at}/featureIds/{i}"
        table, declared = entry.get("propertyTable"), entry.get("featureCount")
        if not is_count(declared, 1):
            buffers.bad("FEATURES_STRUCTURE", where, f"featureCount is {declared!r}.")
            continue
        if table is not None and not (is_count(table) and table < len(counts)):
            buffers.bad("FEATURES_STRUCTURE", where, f"There is no property table {table!r}.")
            continue
        if "texture" in entry:
            _check_texture(buffers, where, child(entry, "texture"))
            continue
        ids = _feature_ids(buffers, where, entry, attributes, implicit)
        if ids is None:
            continue
        used = np.unique(ids)
        used = used[used != entry["nullFeatureId"]] if is_count(entry.get("nullFeatureId")) else used
        if len(used) and (used[0] < 0 or (used != np.rint(used)).any()):
            buffers.bad("FEATURES_RANGE", where, f"Feature id {used[0]} is not a whole number from 0.")
        elif len(used) and table is not None and used[-1] >= counts[table]:
            buffers.bad("FEATURES_RANGE", where, f"Feature id {used[-1]:.0f}, table {table} has {counts[table]} rows.")
        elif len(used) > declared:
            buffers.bad("FEATURES_RANGE", where, f"{len(used)} different ids, featureCount {declared}.")
        elif len(used) < declared:
            buffers.bad("FEATURES_COUNT", where, f"{len(used)} different ids, featureCount {declared}.")


def _feature_ids(
    buffers: Buffers, where: str, entry: dict[str, Any], attributes: dict[str, Any], implicit: Any
) -> np.ndarray[Any, np.dtype[Any]] | None:
    if "attribute" not in entry:
        return np.arange(int(buffers.said(implicit).get("count", 0))) if buffers.array(implicit) is not None else None
    name = f"_FEATURE_ID_{entry['attribute']}"
    if name not in attributes:
        buffers.bad("FEATURES_STRUCTURE", where, f"There is no attribute {name}.")
        return None
    array, said = buffers.array(attributes[name]), buffers.said(attributes[name])
    if array is None:
        return None
    if said.get("type") != "SCALAR" or said["componentType"] not in {5121, 5123, 5126} or said.get("normalized"):
        words = f"{name} is {said.get('type')} of component type {said.get('componentType')}."
        buffers.bad("FEATURES_STRUCTURE", where, words)
        return None
    return array[:, 0]


def _check_texture(buffers: Buffers, where: str, texture: dict[str, Any]) -> None:
    channels = texture.get("channels", [0])
    n = len(objects(buffers.document.get("textures")))
    if not (is_count(texture.get("index")) and texture["index"] < n):
        buffers.bad("FEATURES_STRUCTURE", where, f"There is no texture {texture.get('index')!r}.")
    elif not isinstance(channels, list) or not channels or not all(is_count(c) and c < 4 for c in channels):
        buffers.bad("FEATURES_STRUCTURE", where, f"channels are {str(channels)[:60]}.")


def _check_instances(buffers: Buffers, scene: Scene, counts: list[int]) -> None:
    for i, node in enumerate(scene.nodes):
        scene.instances(i)
        sets = child(node, "extensions", "EXT_instance_features").get("featureIds")
        if sets is None:
            continue
        attributes = child(node, "extensions", "EXT_mesh_gpu_instancing", "attributes")
        if not attributes:
            buffers.bad("FEATURES_STRUCTURE", f"/nodes/{i}", "EXT_instance_features without instances.")
            continue
        _check_sets(buffers, f"/nodes/{i}", sets, counts, attributes, next(iter(attributes.values())))


class _PropertyAttributes:
    """Values at each vertex (points of a cloud, for instance) that a class describes."""

    def __init__(self, buffers: Buffers, schema: dict[str, Any], listed: list[dict[str, Any]]) -> None:
        self.buffers, self.schema, self.listed = buffers, schema, listed

    def check(self, at: str, primitive: dict[str, Any]) -> None:
        used = child(primitive, "extensions", _METADATA).get("propertyAttributes", [])
        for index in used if isinstance(used, list) else []:
            if not is_count(index) or index >= len(self.listed):
                self.buffers.bad("METADATA_ATTRIBUTE", at, f"There is no property attribute {index!r}.")
                continue
            said = self.listed[index]
            of_class = child(self.schema, "classes").get(str(said.get("class")))
            if not isinstance(of_class, dict):
                self.buffers.bad("METADATA_ATTRIBUTE", at, f"Class {said.get('class')!r} is not in the schema.")
                continue
            for key, entry in child(said, "properties").items():
                self._one(at, key, child(of_class, "properties").get(key), child(entry).get("attribute"), primitive)

    def _one(self, at: str, key: str, prop: Any, name: Any, primitive: dict[str, Any]) -> None:
        names = child(primitive, "attributes")
        if not isinstance(prop, dict) or str(name) not in names:
            self.buffers.bad("METADATA_ATTRIBUTE", at, f"{key}: no such property, or no attribute {name!r}.")
            return
        said, array = self.buffers.said(names[name]), self.buffers.array(names[name])
        enum = child(self.schema, "enums", str(prop.get("enumType")))
        component = enum.get("valueType", "UINT16") if prop.get("type") == "ENUM" else prop.get("componentType")
        wants = COMPONENTS.get(str(component))
        shape = "SCALAR" if prop.get("type") == "ENUM" else prop.get("type")
        if array is None or prop.get("array") or wants is None:
            return
        has = GLTF_COMPONENTS[said["componentType"]]
        # vertex attributes know no 32-bit whole numbers: float32 stands in for them
        if said.get("type") != shape or (has != wants and has != np.dtype("<f4")):
            self.buffers.bad(
                "METADATA_ATTRIBUTE", at, f"{key} is {shape} {component}, {name} {said.get('type')} {has}."
            )
        elif prop.get("type") == "ENUM":
            known = [each["value"] for each in objects(enum.get("values")) if isinstance(each.get("value"), int)]
            strange = np.setdiff1d(array, known)
            if len(strange):
                self.buffers.bad("METADATA_ENUM", at, f"{name} has {strange[0]}, not in {prop['enumType']}.")
