"""The container of binary glTF 2.0, and of b3dm around it: header, chunks, lengths. ISO/IEC 12113, 4."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiles.verify.findings import Findings
from tiles.verify.json_text import BadJson, numbers, parse


@dataclass(frozen=True)
class Container:
    """The document, the BIN chunk (None without one), and what b3dm adds to the place."""

    document: dict[str, Any]
    binary: bytes | None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


def read_glb(findings: Findings, where: str, data: bytes) -> Container | None:
    """None where there is no document to go on with."""
    if len(data) < 12 or data[:4] != b"glTF":
        findings.add("GLB_HEADER", where, f"It starts with {data[:4]!r} and has {len(data)} bytes.")
        return None
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2 or length != len(data):
        findings.add("GLB_HEADER", where, f"Version {version}, length {length:,} in a file of {len(data):,} bytes.")
    chunks = _chunks(findings, where, data)
    if not chunks or chunks[0][0] != b"JSON":
        findings.add("GLB_CHUNK", where, f"The first chunk is {chunks[0][0] if chunks else None!r}, not JSON.")
        return None
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else None
    try:
        return Container(parse(chunks[0][1]), binary)
    except BadJson as error:
        findings.add("JSON_INVALID", where, f"The JSON chunk: {error}.")
        return None


def _chunks(findings: Findings, where: str, data: bytes) -> list[tuple[bytes, bytes]]:
    at = 12
    chunks: list[tuple[bytes, bytes]] = []
    while at < len(data) and len(chunks) < 64:
        if at + 8 > len(data):
            findings.add("GLB_CHUNK", where, f"{len(data) - at} bytes are left behind the last chunk.")
            break
        length, kind = struct.unpack_from("<I4s", data, at)
        if length % 4 or at + 8 + length > len(data):
            findings.add("GLB_CHUNK", where, f"Chunk {kind!r} at {at} has {length:,} bytes.")
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length + (-length % 4)
    kinds = [kind for kind, _ in chunks]
    if b"JSON" in kinds[1:] or b"BIN\0" in kinds[2:]:
        findings.add("GLB_CHUNK", where, f"The order of chunks is {kinds}.")
    return chunks


def read_b3dm(findings: Findings, where: str, data: bytes) -> Container | None:
    """The glb inside a batched 3D model of 3D Tiles 1.0, with its RTC_CENTER."""
    if len(data) < 28:
        findings.add("GLB_HEADER", where, f"A b3dm of {len(data)} bytes.")
        return None
    version, length, *tables = struct.unpack_from("<6I", data, 4)
    if version != 1 or length != len(data) or 28 + sum(tables) > len(data):
        findings.add("GLB_HEADER", where, f"b3dm version {version}, {length:,} bytes in a file of {len(data):,}.")
    if 28 + sum(tables) > len(data):
        return None
    try:
        feature_table = parse(data[28 : 28 + tables[0]].rstrip(b"\0 ") or b"{}")
    except BadJson as error:
        findings.add("JSON_INVALID", where, f"The feature table: {error}.")
        feature_table = {}
    made = read_glb(findings, where, data[28 + sum(tables) : length])
    centre = numbers(feature_table.get("RTC_CENTER"), 3) or [0.0, 0.0, 0.0]
    return made and Container(made.document, made.binary, (centre[0], centre[1], centre[2]))


def z_up(points: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Places in y-up glTF as z-up 3D Tiles have them."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
