"""Nodes of a glTF: trees, transforms, instances; and where all vertices come to lie."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.gltf_buffers import Buffers
from tiles.verify.json_text import child, is_count, numbers, objects
from tiles.verify.limits import MAX_POINTS

FloatArray = NDArray[np.float64]
_CHUNK = 2**18
_INSTANCE_TYPES = {
    "TRANSLATION": ("VEC3", {5126}), "ROTATION": ("VEC4", {5126, 5120, 5122}), "SCALE": ("VEC3", {5126}),
}  # fmt: skip


def local_matrix(node: dict[str, Any]) -> FloatArray | None:
    """The 4 x 4 transform of a node; None where it is not sound."""
    if "matrix" in node:
        read = numbers(node["matrix"], 16)
        return None if read is None else np.array(read).reshape(4, 4).T
    parts = [numbers(node.get(key, default), len(default)) for key, default in _DEFAULTS.items()]
    if any(part is None for part in parts):
        return None
    rotation = np.array(parts[1])
    if abs(np.linalg.norm(rotation) - 1) > 1e-3:
        return None
    return placed(np.array([parts[0]]), rotation[None], np.array([parts[2]]))[0]


_DEFAULTS: dict[str, list[float]] = {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}


def placed(translation: FloatArray, rotation: FloatArray, scale: FloatArray) -> FloatArray:
    """(n, 4, 4) matrices of translations, unit quaternions (x, y, z, w) and scales."""
    x, y, z, w = rotation.T
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    made = np.zeros((len(translation), 4, 4))
    made[:, :3, :3] = np.moveaxis(turn, 2, 0) * scale[:, None, :]
    made[:, :3, 3] = translation
    made[:, 3, 3] = 1
    return made


class Scene:
    """The nodes, checked once; `points` goes through everything that is drawn."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers
        self.nodes = objects(buffers.document.get("nodes"))
        self._instances: dict[int, FloatArray | None] = {}
        self.drawn = self._drawn()

    def _drawn(self) -> list[tuple[int, FloatArray]]:
        """(node, world matrix) of all nodes with a mesh that the scene shows."""
        parents: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            for below in node.get("children", []) if isinstance(node.get("children", []), list) else []:
                if not is_count(below) or below >= len(self.nodes):
                    self.buffers.bad("GLTF_REFERENCE", f"/nodes/{i}/children", f"There is no node {below!r}.")
                elif below in parents:
                    self.buffers.bad("GLTF_NODE_LOOP", f"/nodes/{below}", f"Parents are {parents[below]} and {i}.")
                else:
                    parents[below] = i
        if self._has_loop(parents):
            return []
        roots = self._roots(parents)
        drawn, waiting = [], [(root, np.eye(4)) for root in roots]
        n_meshes = len(objects(self.buffers.document.get("meshes")))
        while waiting:
            i, above = waiting.pop()
            own = local_matrix(self.nodes[i])
            if own is None:
                self.buffers.bad("GLTF_TRANSFORM", f"/nodes/{i}", "Numbers are missing or the rotation is no unit.")
                continue
            world = above @ own
            mesh = self.nodes[i].get("mesh")
            if mesh is not None:
                if is_count(mesh) and mesh < n_meshes:
                    drawn.append((i, world))
                else:
                    self.buffers.bad("GLTF_REFERENCE", f"/nodes/{i}", f"There is no mesh {mesh!r}.")
            below = self.nodes[i].get("children", [])
            waiting += [(each, world) for each in below if parents.get(each) == i]
        return drawn

    def _has_loop(self, parents: dict[int, int]) -> bool:
        sound: set[int] = set()
        for start in parents:
            path: list[int] = []
            at: int | None = start
            while at is not None and at not in sound:
                if at in path[-64:] or len(path) > len(self.nodes):
                    self.buffers.bad("GLTF_NODE_LOOP", f"/nodes/{at}", "The node is below itself.")
                    return True
                path.append(at)
                at = parents.get(at)
            sound.update(path)
        return False

    def _roots(self, parents: dict[int, int]) -> list[int]:
        scenes = objects(self.buffers.document.get("scenes"))
        number = self.buffers.document.get("scene", 0)
        if not scenes:
            return [i for i in range(len(self.nodes)) if i not in parents]
        if not is_count(number) or number >= len(scenes):
            self.buffers.bad("GLTF_REFERENCE", "/scene", f"There is no scene {number!r}.")
            return []
        listed = scenes[number].get("nodes", [])
        roots = (
            [each for each in listed if is_count(each) and each < len(self.nodes)] if isinstance(listed, list) else []
        )
        if not isinstance(listed, list) or len(roots) != len(listed):
            self.buffers.bad("GLTF_REFERENCE", f"/scenes/{number}", f"Nodes are {str(listed)[:80]}.")
        return list(dict.fromkeys(each for each in roots if each not in parents))

    def instances(self, node: int) -> FloatArray | None:
        """(n, 4, 4) transforms of EXT_mesh_gpu_instancing; None without it."""
        if node not in self._instances:
            said = child(self.nodes[node], "extensions", "EXT_mesh_gpu_instancing")
            self._instances[node] = self._instanced(f"/nodes/{node}", said) if said else None
        return self._instances[node]

    def _instanced(self, at: str, said: dict[str, Any]) -> FloatArray | None:
        read: dict[str, FloatArray] = {}
        counts = set()
        for name, index in child(said, "attributes").items():
            array, accessor = self.buffers.floats(index), self.buffers.said(index)
            if array is None:
                continue
            counts.add(len(array))
            kind, components = _INSTANCE_TYPES.get(name, (None, set()))
            wrong = accessor["type"] != kind or accessor["componentType"] not in components
            if kind is not None and wrong:
                self.buffers.bad("GLTF_INSTANCING", at, f"{name} is {accessor.get('type')}.")
                return None
            if not np.isfinite(array).all():
                self.buffers.bad("GLTF_NOT_FINITE", at, f"{name} is not finite.")
                return None
            read[name] = array
        if len(counts) != 1:
            self.buffers.bad("GLTF_INSTANCING", at, f"Counts of the attributes are {sorted(counts)}.")
            return None
        n = counts.pop()
        rotation = read.get("ROTATION", np.tile([0.0, 0, 0, 1], (n, 1)))
        if (np.abs(np.linalg.norm(rotation, axis=1) - 1) > 0.02).any():
            self.buffers.bad("GLTF_INSTANCING", at, "A ROTATION is no unit quaternion.")
        return placed(read.get("TRANSLATION", np.zeros((n, 3))), rotation, read.get("SCALE", np.ones((n, 3))))

    def points(self) -> Iterator[FloatArray]:
        """(n, 3) chunks of all vertices of the scene, glTF axes, after all transforms; finite ones only."""
        left = MAX_POINTS
        meshes = objects(self.buffers.document.get("meshes"))
        for node, world in self.drawn:
            instances = self.instances(node)
            for primitive in objects(meshes[self.nodes[node]["mesh"]].get("primitives")):
                local = self._local(primitive)
                if local is None:
                    continue
                for matrix in [world] if instances is None else world @ instances:
                    for start in range(0, len(local), _CHUNK):
                        if left <= 0:
                            self.buffers.findings.cut(self.buffers.where, "Too many placed vertices to compare all.")
                            return
                        part = local[start : start + _CHUNK]
                        left -= len(part)
                        yield part @ matrix[:3, :3].T + matrix[:3, 3]

    def _local(self, primitive: dict[str, Any]) -> FloatArray | None:
        index = child(primitive, "attributes").get("POSITION")
        if index is None:
            return None
        if child(primitive, "extensions", "KHR_draco_mesh_compression"):
            said = self.buffers.said(index)
            low, high = numbers(said.get("min"), 3), numbers(said.get("max"), 3)
            if low is None or high is None:
                return None
            return np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
        made = self.buffers.floats(index)
        if made is None or made.shape[1] != 3:
            return None
        return made[np.isfinite(made).all(axis=1)]
