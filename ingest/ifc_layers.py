"""The layers `bim_element` and `bim_assembly` of one IFC model, streamed from the workers."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest import ifc_batch, ifc_file
from ingest.ifc_geometry import CHUNK, Chunk, Pool, Tally
from ingest.ifc_placement import Placement
from ingest.ifc_process import KERNELS
from layers import catalogue
from layers.issue import Issue, Reject
from layers.mesh import Mesh
from layers.source import FeatureBatch, Hints, VectorLayer

_LEVEL_OF_SPACES = 5
_MAX_WORKERS = 2
_ASSEMBLY_NOTES = (
    (
        "own",
        "IFC_SPATIAL_SHAPE",
        "spatial elements have own shapes: their footprints are kept, not their meshes.",
    ),
    ("missed", "IFC_SPATIAL_NO_SHAPE", "spatial elements have shapes that no kernel could make."),
    (
        "alone",
        "IFC_ELEMENT_WITHOUT_BODY",
        "elements have neither body nor parts: their attributes are in bim_assembly.",
    ),
)


@dataclass
class Hull:
    """Plan hull and height range of what belongs to one assembly."""

    points: NDArray[np.float64]

    def add(self, corners: NDArray[np.float64]) -> None:
        """Grow by (n, 3) map points; only the hull's corners are kept."""
        self.points = _corners(np.vstack([self.points, corners]))


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the plan hull, each once at the lowest and once at the highest height."""
    plan = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points[:, :2])))
    low, high = points[:, 2].min(), points[:, 2].max()
    return np.vstack([np.column_stack([plan, np.full(len(plan), z)]) for z in (low, high)])


@dataclass
class Model:
    """One model between reading and the end of its batches: its two layers come from one run of the workers.

    The rows of the spatial structure (some kilobytes each) wait in memory until the elements are through, because their
    geometry is the hull of their parts.
    """

    path: Path
    unpacked: ifc_file.Unpacked
    facts: dict[str, Any]
    placement: Placement
    hints: Hints
    hulls: dict[str, Hull] = field(default_factory=dict)
    elements: VectorLayer = field(init=False)
    assemblies: VectorLayer = field(init=False)

    def __post_init__(self) -> None:
        place = self.placement
        self.element_type = catalogue.layer_type(self.hints.layer or "bim_element")
        self.assembly_type = catalogue.layer_type("bim_assembly")
        self.elements, self.assemblies = (
            VectorLayer(name, layer_id, place.crs, batches, place.vertical_crs, geometry_type="MultiPolygon")
            for name, layer_id, batches in (
                ("elements", self.element_type.id, self._element_batches),
                ("assemblies", self.assembly_type.id, self._assembly_batches),
            )
        )
        self._held: list[Chunk] | None = None
        with_body = [each for each in self.facts["elements"] if each[2]]
        without = [each for each in self.facts["elements"] if not each[2]]
        seen: set[str] = set()
        self._duplicates: set[int] = set()
        for number, guid, _ in [*with_body, *without, *self.facts["spatial"]]:
            if guid in seen:
                self._duplicates.add(number)
            seen.add(guid)
        self._element_products = with_body
        self._assembly_products = [*self.facts["spatial"], *without]

    def _chunks(self, products: list[tuple[int, str, bool]], first: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        for start in range(0, len(products), CHUNK):
            part = products[start : start + CHUNK]
            wanted = [each[0] for each in part if each[2] and each[0] not in self._duplicates]
            chunks.append(Chunk(first + len(chunks), [each[0] for each in part], wanted))
        return chunks

    def _unique_rows(self, layer: VectorLayer, chunk: Chunk) -> list[dict[str, Any]]:
        """Count a chunk into its layer; rows of repeated GlobalIds become rejects."""
        layer.n_read += len(chunk.ids)
        kept = []
        for row in chunk.rows:
            row["model"] = self.path.name
            if row["id"] in self._duplicates:
                message = f"GlobalId {row['ifc_guid']} is used by an earlier product of this file."
                layer.rejects.append(Reject("IFC_DUPLICATE_GUID", f"#{row['id']}", message, _content(row)))
            else:
                kept.append(row)
        return kept

    def _is_large(self, n_chunks: int) -> bool:
        """A second process takes a third of a second to start and to parse a small file; below this it does not pay."""
        return n_chunks >= 4 or (n_chunks > 1 and self.unpacked.path.stat().st_size > 1_000_000)

    def _element_batches(self) -> Iterator[FeatureBatch]:
        layer, tally, made = self.elements, Tally(), Counter[str]()
        _restart(layer)
        self.hulls.clear()
        held: list[Chunk] = []
        elements = self._chunks(self._element_products, 0)
        chunks = elements + self._chunks(self._assembly_products, len(elements))
        n_workers = min(_MAX_WORKERS, os.cpu_count() or 1) if self._is_large(len(elements)) else 1
        for chunk in Pool(self.unpacked.path, n_workers, tally).run(iter(chunks)):
            if chunk.number >= len(elements):
                held.append(chunk)
                continue
            reasons = {miss.id: miss.reasons for miss in chunk.misses()}
            rows, meshes, geometries = [], [], []
            for row in self._unique_rows(layer, chunk):
                if row["id"] in reasons:
                    said = "; ".join(
                        f"{kernel}: {why}" for kernel, why in zip(KERNELS, reasons[row["id"]], strict=False)
                    )
                    message = f"No kernel could make a mesh of {row['ifc_class']} ({said})."
                    layer.rejects.append(Reject("IFC_NO_SHAPE", row["ifc_guid"], message, _content(row)))
                    continue
                shape = chunk.shapes[row["id"]]
                mesh = ifc_batch.mesh_of(shape, self.placement)
                self._grow(row, mesh)
                rows.append(self._finished(row, mesh.vertices, shape.kernel))
                meshes.append(mesh)
                made[shape.kernel] += 1
                geometries.append(ifc_batch.footprint(mesh.vertices, self.placement.crs_unit_m))
            if rows:
                yield ifc_batch.batch(self.element_type, rows, geometries, list[Mesh | None](meshes))
        self._held = held
        layer.issues += _kernel_issues(self.path.name, tally, made) + self._left_out()

    def _grow(self, row: dict[str, Any], mesh: Mesh) -> None:
        corners = _corners(mesh.vertices)
        for guid in row["ancestors"]:
            if guid in self.hulls:
                self.hulls[guid].add(corners)
            else:
                self.hulls[guid] = Hull(corners)

    def _finished(self, row: dict[str, Any], points: NDArray[np.float64] | None, kernel: str | None) -> dict[str, Any]:
        row = _content(row) | {"kernel": kernel}
        if not row["name"]:
            row["name"] = row["long_name"]
        if points is not None:
            row |= {"base_elev_m": float(points[:, 2].min()), "top_elev_m": float(points[:, 2].max())}
        known = {each.name for each in self.element_type.attributes}
        return row | {key: value for key, value in self.hints.values.items() if key in known}

    def _assembly_batches(self) -> Iterator[FeatureBatch]:
        if self._held is None:
            for _ in self._element_batches():
                pass
        layer, found = self.assemblies, Counter[str]()
        _restart(layer)
        for chunk in self._held or []:
            rows, geometries = [], []
            for row in self._unique_rows(layer, chunk):
                points = self._extent(row, chunk)
                found["own"] += row["id"] in chunk.shapes
                found["missed"] += row["id"] in chunk.to_mesh and row["id"] not in chunk.shapes
                found["alone"] += row["cim_level"] > _LEVEL_OF_SPACES and not row["has_parts"]
                rows.append(self._finished(row, points, None))
                unit = self.placement.crs_unit_m
                geometries.append(None if points is None else ifc_batch.footprint(points, unit))
            if rows:
                yield ifc_batch.batch(self.assembly_type, rows, geometries, None)
        for key, code, words in _ASSEMBLY_NOTES:
            if found[key]:
                layer.issues.append(Issue(code, self.path.name, f"{found[key]} {words}", severity="info"))

    def _extent(self, row: dict[str, Any], chunk: Chunk) -> NDArray[np.float64] | None:
        own = chunk.shapes.get(row["id"])
        if own is not None:
            return self.placement.to_map(own.vertices)
        hull = self.hulls.get(row["ifc_guid"])
        return None if hull is None else hull.points

    def _left_out(self) -> list[Issue]:
        others = ", ".join(f"{count} {name}" for name, count in sorted(self.facts["others"].items()))
        parts = [others] if others else []
        if self.facts["n_virtual"]:
            parts.append(f"{self.facts['n_virtual']} IfcVirtualElement")
        if not parts:
            return []
        message = f"Not read, because they are no building elements: {', '.join(parts)}."
        return [Issue("IFC_PRODUCTS_NOT_READ", self.path.name, message, severity="info")]


def _restart(layer: VectorLayer) -> None:
    layer.n_read = 0
    layer.issues.clear()
    layer.rejects.clear()


def _content(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"id", "ancestors", "has_parts"}}


def _kernel_issues(name: str, tally: Tally, made: Counter[str]) -> list[Issue]:
    words = ", ".join(f"{kernel} made {count}" for kernel, count in made.most_common()) or "no element was meshed"
    issues = [Issue("IFC_KERNELS", name, f"Meshes: {words}.", severity="info")]
    for words, counter in (("crashed on", tally.crashes), ("took too long for", tally.timeouts)):
        for kernel, count in counter.items():
            message = f"The kernel {kernel} {words} {count} elements; they were tried with the next one."
            issues.append(Issue("IFC_KERNEL_LOST", name, message, "Nothing to do if no element was rejected.", "info"))
    return issues
