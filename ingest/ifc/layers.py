"""The layers `bim_element` and `bim_assembly` of one IFC model, streamed from the workers."""

import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest.ifc import batch as ifc_batch
from ingest.ifc import file as ifc_file
from ingest.ifc.geometry import CHUNK, MIN_CHUNK, Chunk, Pool, Tally
from ingest.ifc.placement import Placement
from ingest.ifc.process import KERNELS, Worker
from layers import catalogue
from layers.issue import Issue, Reject
from layers.mesh import Mesh
from layers.source import FeatureBatch, Hints, VectorLayer

_LEVEL_OF_SPACES = 5
_MAX_WORKERS = 2
_SMALL = 500_000
_N_PARTS = 500
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

    parts: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, corners: NDArray[np.float64]) -> None:
        """Grow by (n, 3) map points; only the hull's corners are kept for long."""
        self.parts.append(corners)
        if len(self.parts) >= _N_PARTS:
            self.parts = [self.points()]

    def points(self) -> NDArray[np.float64]:
        """Corners of the hull of everything that was added."""
        return _corners(np.vstack(self.parts))


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the plan hull, each once at the lowest and once at the highest height."""
    plan = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points[:, :2])))
    low, high = points[:, 2].min(), points[:, 2].max()
    return np.vstack([np.column_stack([plan, np.full(len(plan), z)]) for z in (low, high)])


@dataclass(frozen=True)
class Products:
    """What is to be read: (instance, GlobalId, has a body) of elements and of assemblies; repeated GlobalIds."""

    elements: list[tuple[int, str, bool]]
    assemblies: list[tuple[int, str, bool]]
    duplicates: set[int]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Products":
        """Of a surveyed model; elements without a body of their own are assemblies."""
        with_body = [each for each in facts["elements"] if each[2]]
        without = [each for each in facts["elements"] if not each[2]]
        seen: set[str] = set()
        duplicates: set[int] = set()
        for number, guid, _ in [*with_body, *without, *facts["spatial"]]:
            if guid in seen:
                duplicates.add(number)
            seen.add(guid)
        return cls(with_body, [*facts["spatial"], *without], duplicates)

    def chunks(self) -> tuple[list[Chunk], int]:
        """All products in the order in which they are read, and how many of these chunks hold elements."""
        found: list[Chunk] = []
        n_element_chunks = 0
        size = min(CHUNK, max(MIN_CHUNK, -(-len(self.elements) // 8)))
        for products in (self.elements, self.assemblies):
            for start in range(0, len(products), size):
                part = products[start : start + size]
                wanted = [each[0] for each in part if each[2] and each[0] not in self.duplicates]
                found.append(Chunk(len(found), [each[0] for each in part], wanted))
            n_element_chunks = n_element_chunks or len(found)
        return found, n_element_chunks if self.elements else 0


class Run:
    """One pass of the workers over a model. The first chunk can be looked at before the rest is asked for."""

    def __init__(self, unpacked: ifc_file.Unpacked, products: Products, reader: Worker | None = None) -> None:
        chunks, self.n_element_chunks = products.chunks()
        self.tally = Tally()
        is_small = unpacked.path.stat().st_size < _SMALL  # the process that has parsed it is done before others start
        n_workers = 1 if is_small else max(1, min(_MAX_WORKERS, os.cpu_count() or 1, len(chunks)))
        self._stream: Generator[Chunk] = Pool(unpacked.path, n_workers, self.tally, reader=reader).run(iter(chunks))
        self._first: Chunk | None = None

    def first(self) -> Chunk | None:
        """The first chunk, which `chunks` gives again."""
        if self._first is None:
            self._first = next(self._stream, None)
        return self._first

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, once."""
        if self._first is not None:
            yield self._first
            self._first = None
        try:
            yield from self._stream
        finally:
            self.close()

    def close(self) -> None:
        """End the workers."""
        self._stream.close()


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
    run: "Run | None" = None
    hulls: dict[str, Hull] = field(default_factory=dict)
    elements: VectorLayer = field(init=False)
    assemblies: VectorLayer = field(init=False)

    def __post_init__(self) -> None:
        place = self.placement
        self.products = Products.of(self.facts)
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

    def _unique_rows(self, layer: VectorLayer, chunk: Chunk) -> list[dict[str, Any]]:
        """Count a chunk into its layer; rows of repeated GlobalIds become rejects."""
        duplicates = self.products.duplicates
        layer.n_read += len(chunk.ids)
        kept = []
        for row in chunk.rows:
            row["model"] = self.path.name
            if row["id"] in duplicates:
                message = f"GlobalId {row['ifc_guid']} is used by an earlier product of this file."
                layer.rejects.append(Reject("IFC_DUPLICATE_GUID", f"#{row['id']}", message, _content(row)))
            else:
                kept.append(row)
        return kept

    def _element_batches(self) -> Iterator[FeatureBatch]:
        layer, made = self.elements, Counter[str]()
        _restart(layer)
        self.hulls.clear()
        held: list[Chunk] = []
        maker = ifc_batch.Meshes(self.placement)
        run = self.run or Run(self.unpacked, self.products)
        self.run = None
        tally = run.tally
        for chunk in run.chunks():
            if chunk.number >= run.n_element_chunks:
                held.append(chunk)
                continue
            reasons = {miss.id: miss.reasons for miss in chunk.misses()}
            meshes_of = maker.of(chunk.shapes.values())
            kept, rows, meshes = [], [], list[Mesh]()
            for row in self._unique_rows(layer, chunk):
                if row["id"] in reasons:
                    said = "; ".join(
                        f"{kernel}: {why}" for kernel, why in zip(KERNELS, reasons[row["id"]], strict=False)
                    )
                    message = f"No kernel could make a mesh of {row['ifc_class']} ({said})."
                    layer.rejects.append(Reject("IFC_NO_SHAPE", row["ifc_guid"], message, _content(row)))
                    continue
                shape = chunk.shapes[row["id"]]
                mesh = meshes_of[row["id"]]
                rows.append(self._finished(row, mesh.vertices, shape.kernel))
                meshes.append(mesh)
                kept.append(row)
                made[shape.kernel] += 1
            geometries = ifc_batch.footprints([each.vertices for each in meshes], self.placement.crs_unit_m)
            for row, mesh, geometry in zip(kept, meshes, geometries, strict=True):
                self._grow(row, mesh, geometry)
            if rows:
                yield ifc_batch.batch(self.element_type, rows, geometries, list[Mesh | None](meshes))
        self._held = held
        layer.issues += _kernel_issues(self.path.name, tally, made) + self._left_out()

    def _grow(self, row: dict[str, Any], mesh: Mesh, footprint: shapely.Geometry | None) -> None:
        plan, vertices = shapely.get_coordinates(footprint), mesh.vertices
        low, high = vertices[:, 2].min(), vertices[:, 2].max()
        corners = np.vstack([np.column_stack([plan, np.full(len(plan), z)]) for z in (low, high)])
        for guid in row["ancestors"]:
            self.hulls.setdefault(guid, Hull()).add(corners)

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
                geometries.append(None if points is None else ifc_batch.footprints([points], unit)[0])
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
        return None if hull is None else hull.points()

    def _left_out(self) -> list[Issue]:
        others = ", ".join(f"{count} {name}" for name, count in sorted(self.facts["others"].items()))
        parts = [others] if others else []
        if self.facts["n_virtual"]:
            parts.append(f"{self.facts['n_virtual']} IfcVirtualElement")
        issues = []
        n_textures, (n_maps, n_faces) = self.facts["n_textures"], self.facts["colour_maps"]
        if n_textures:
            message = f"{n_textures} textures are not drawn: the surfaces have the colours of their styles."
            issues.append(Issue("IFC_TEXTURES_NOT_READ", self.path.name, message, severity="info"))
        if n_faces:
            message = f"{n_faces} of {n_maps} colour maps are for faces that are no triangles and are not applied."
            issues.append(Issue("IFC_COLOURS_NOT_READ", self.path.name, message, severity="info"))
        if not parts:
            return issues
        message = f"Not read, because they are no building elements: {', '.join(parts)}."
        return [*issues, Issue("IFC_PRODUCTS_NOT_READ", self.path.name, message, severity="info")]


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
