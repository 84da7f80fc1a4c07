"""One Mapbox Vector Tile 2.1, walked and checked."""

from dataclasses import dataclass, field
from typing import Any

from tiles.verify.findings import Findings
from tiles.verify.mvt_geometry import check_geometry
from tiles.verify.protobuf import BYTES, FIXED32, FIXED64, VARINT, BadProtobuf, fields, packed

_VALUE_WIRES = {1: BYTES, 2: FIXED32, 3: FIXED64, 4: VARINT, 5: VARINT, 6: VARINT, 7: VARINT}
_LAYER_WIRES = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 15: VARINT}
_FEATURE_WIRES = {1: VARINT, 2: BYTES, 3: VARINT, 4: BYTES}


@dataclass
class _Layer:
    name: str | None = None
    version: int | None = None
    extent: int = 4096
    keys: list[str] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    features: list[memoryview] = field(default_factory=list)


def check_mvt(findings: Findings, where: str, data: bytes) -> dict[str, set[str]]:
    """Check a tile (no bytes are a tile without layers); gives the keys of each layer."""
    findings.read("mvt", where)
    seen: dict[str, set[str]] = {}
    try:
        for number, wire, body in fields(memoryview(data)):
            if number == 3 and wire == BYTES:
                layer = _read_layer(findings, where, body)
                at = f"{where}#{layer.name}"
                if layer.name is None or layer.name in seen:
                    findings.add("MVT_NAME", at, f"A layer's name is {layer.name!r}.")
                seen[str(layer.name)] = set(layer.keys)
                _check_layer(findings, at, layer)
            elif number == 3:
                findings.add("MVT_PROTOBUF", where, f"A layer has wire type {wire}.")
            elif not 16 <= number <= 8191:
                findings.add("MVT_PROTOBUF", where, f"Field {number} is not one of a tile.")
    except BadProtobuf as error:
        findings.add("MVT_PROTOBUF", where, f"{error}.")
    return seen


def _read_layer(findings: Findings, where: str, data: memoryview) -> _Layer:
    layer = _Layer()
    for number, wire, body in fields(data):
        if wire != _LAYER_WIRES.get(number, wire):
            raise BadProtobuf(f"field {number} of a layer has wire type {wire}")
        if number == 1:
            layer.name = _text(findings, where, body)
        elif number == 2:
            layer.features.append(body)
        elif number == 3:
            layer.keys.append(_text(findings, where, body))
        elif number == 4:
            layer.values.append(bytes(body))
        elif number == 5:
            layer.extent = int(body)
        elif number == 15:
            layer.version = int(body)
    return layer


def _text(findings: Findings, where: str, body: Any) -> str:
    try:
        return bytes(body).decode("utf8")
    except UnicodeDecodeError as error:
        findings.add("MVT_VALUE", where, f"A name or string is not UTF-8 at byte {error.start}.")
        return bytes(body).decode("utf8", "replace")


def _check_layer(findings: Findings, where: str, layer: _Layer) -> None:
    if layer.version != 2:
        findings.add("MVT_VERSION", where, f"version is {layer.version}.")
    if not 0 < layer.extent < 2**32:
        findings.add("MVT_EXTENT", where, f"extent is {layer.extent}.")
        return
    if not layer.features:
        findings.add("MVT_EMPTY_LAYER", where, "The layer has no features.")
    for i, value in enumerate(layer.values):
        _check_value(findings, f"{where}/values/{i}", value)
    used_keys, used_values = bytearray(len(layer.keys)), bytearray(len(layer.values))
    ids: dict[int, int] = {}
    for i, feature in enumerate(layer.features):
        at = f"{where}/{i}"
        known = _feature(findings, at, feature, layer, (used_keys, used_values))
        if known is not None and known in ids:
            findings.add("MVT_FEATURE_ID", at, f"Feature id {known} is also that of feature {ids[known]}.")
        elif known is not None:
            ids[known] = i
    _check_lists(findings, where, layer, used_keys, used_values)


def _check_lists(findings: Findings, where: str, layer: _Layer, used_keys: bytearray, used_values: bytearray) -> None:
    keys, values = used_keys.count(0), used_values.count(0)
    twice = len(layer.keys) - len(set(layer.keys))
    if keys or twice:
        findings.add("MVT_UNUSED", where, f"{keys} keys are not used, {twice} keys are there twice.")
    if values:
        findings.add("MVT_UNUSED_VALUE", where, f"{values} of {len(layer.values)} values are not used.")
    twice = len(layer.values) - len(set(layer.values))
    if twice:
        findings.add("MVT_VALUE_REPEATED", where, f"{twice} of {len(layer.values)} values are there twice.")


def _check_value(findings: Findings, where: str, value: bytes) -> None:
    n = 0
    for number, wire, body in fields(memoryview(value)):
        if number in _VALUE_WIRES:
            n += 1
            if wire != _VALUE_WIRES[number]:
                findings.add("MVT_VALUE", where, f"Field {number} of a value has wire type {wire}.")
            elif number == 1:
                _text(findings, where, body)
    if n != 1:
        findings.add("MVT_VALUE", where, f"A value has {n} fields.")


Used = tuple[bytearray, bytearray]


def _feature(findings: Findings, where: str, data: memoryview, layer: _Layer, used: Used) -> int | None:
    """The feature's id, None without one."""
    known: int | None = None
    kind, geometry, tags = 0, list[int](), list[int]()
    for number, wire, body in fields(data):
        if wire != _FEATURE_WIRES.get(number, wire):
            raise BadProtobuf(f"field {number} of a feature has wire type {wire}")
        if number == 1:
            known = int(body)
        elif number == 2:
            tags = packed(body)
        elif number == 3:
            kind = int(body)
        elif number == 4:
            geometry = packed(body)
    _check_tags(findings, where, tags, used)
    if kind not in {1, 2, 3}:
        findings.add("MVT_TYPE", where, f"Geometry type {kind}.")
    else:
        check_geometry(findings, where, kind, geometry, layer.extent)
    return known


def _check_tags(findings: Findings, where: str, tags: list[int], used: Used) -> None:
    keys, values = used
    if len(tags) % 2:
        findings.add("MVT_TAGS", where, f"{len(tags)} tags.")
        return
    if not tags:
        return
    names, meant = tags[0::2], tags[1::2]
    if max(names) >= len(keys) or max(meant) >= len(values):
        words = f"Tags up to {max(names)} and {max(meant)}, keys {len(keys)}, values {len(values)}."
        findings.add("MVT_TAGS", where, words)
        return
    if len(set(names)) != len(names):
        findings.add("MVT_TAGS", where, "A key is there twice.")
    for name, value in zip(names, meant, strict=True):
        keys[name] = values[value] = 1
