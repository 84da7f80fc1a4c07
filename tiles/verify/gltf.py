"""One glTF 2.0 (binary, JSON or inside b3dm) checked as a whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.glb_container import Container, read_b3dm, read_glb, z_up
from tiles.verify.gltf_buffers import Buffers
from tiles.verify.gltf_document import check_document
from tiles.verify.gltf_features import Ids, check_features
from tiles.verify.gltf_primitives import Primitives
from tiles.verify.gltf_scene import Scene
from tiles.verify.json_text import BadJson, child, numbers, parse
from tiles.verify.source import Unread

Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Gltf:
    """What a tileset asks of its content."""

    ids: Ids = field(default_factory=list)
    scene: Scene | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def points(self) -> Iterator[NDArray[np.float64]]:
        """(n, 3) chunks of all vertices in the z-up axes of 3D Tiles."""
        for chunk in self.scene.points() if self.scene else ():
            yield z_up(chunk) + self.offset


def check_gltf(findings: Findings, where: str, data: bytes, fetch: Fetch) -> Gltf:
    """Check the bytes of a glTF; `fetch` reads relative addresses (Unread where they cannot be had)."""
    findings.read("glTF", where)
    container = _container(findings, where, data)
    if container is None:
        return Gltf()
    buffers = Buffers(findings, where, container.document, container.binary, fetch)
    if not check_document(buffers):
        return Gltf()
    scene = Scene(buffers)
    Primitives(buffers).check()

    def schema(uri: str) -> dict[str, Any] | None:
        try:
            return parse(fetch(uri))
        except (Unread, BadJson) as error:
            findings.add(getattr(error, "code", "JSON_INVALID"), f"{where}#{uri}", str(error))
            return None

    ids = check_features(buffers, scene, schema)
    for i, _ in enumerate(container.document.get("bufferViews", [])):
        buffers.view(i)
    for i, _ in enumerate(container.document.get("accessors", [])):
        buffers.array(i)
    # CESIUM_RTC is in glTF's axes but says geocentric places: it is added after the turn
    centre = numbers(child(container.document, "extensions", "CESIUM_RTC").get("center"), 3) or [0.0, 0.0, 0.0]
    offset = np.add(container.offset, centre).tolist()
    return Gltf(ids, scene, (offset[0], offset[1], offset[2]))


def _container(findings: Findings, where: str, data: bytes) -> Container | None:
    if data[:4] == b"b3dm":
        return read_b3dm(findings, where, data)
    if data[:1] == b"{" or data[:4] == b"\xef\xbb\xbf{":
        try:
            return Container(parse(data), None)
        except BadJson as error:
            findings.add("JSON_INVALID", where, f"{error}.")
            return None
    return read_glb(findings, where, data)
