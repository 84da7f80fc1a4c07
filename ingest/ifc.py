"""IFC2X3, IFC4 and IFC4X3_ADD2 -> layers `bim_element` (meshes, footprints) and `bim_assembly`.

Which products count: `bim_element` holds every IfcElement that has a body, except IfcFeatureElement (openings and
other features are already cut into their hosts) and IfcVirtualElement. `bim_assembly` holds the spatial structure
(sites, buildings, storeys, facilities and parts, spaces) and the elements without a body of their own, such as an
IfcStair made of flights; it has no meshes, its geometry is the plan hull of its parts or of its own shape. Alignments,
grids, ports and annotations are counted in an Issue. The public id is the GlobalId.

Everything native runs in worker processes (`ingest.ifc_geometry`): a kernel that crashes costs at most one element.
Spec: ISO 16739-1:2024.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest import ifc_batch, ifc_file, ifc_georef, ifc_text
from ingest.ifc_geometry import CHUNK, KERNELS, Chunk, Pool, Tally, WorkerLost, ask, survey
from ingest.ifc_placement import Placement
from layers import catalogue
from layers.errors import InvalidInput
from layers.issue import Issue, Reject
from layers.mesh import Mesh
from layers.source import FeatureBatch, Hints, Reading, VectorLayer

SUFFIXES = (".ifc", ".ifczip")


def read(path: Path, hints: Hints) -> Reading:
    """Read one model. Raises InvalidInput when it cannot be parsed whole, Unplaceable when it has no place.

    Geometry is made while the batches are consumed. Vertices are east, north, height in the CRS of the certificate.
    """
    unpacked = ifc_file.unpack(path)
    ifc_file.check_head_and_tail(unpacked.path, path.name)
    unpacked, issues = ifc_text.to_escapes(unpacked, path.name, hints.encoding)
    facts, log = _survey(unpacked.path, path.name)
    _check_whole(unpacked.path, path.name, facts, log)
    placement = ifc_georef.place(facts, hints)
    model = _Model(path, unpacked, facts, placement, hints)
    issues += [
        Issue("IFC_CONTRADICTION", path.name, sentence, "Correct the model's georeference, or accept this.")
        for sentence in placement.certificate.contradictions
    ]
    return Reading(path, f"IFC {facts['schema']}", [model.elements, model.assemblies], placement.certificate, issues)


def _survey(plain: Path, name: str) -> tuple[dict[str, Any], str]:
    try:
        answer = survey(plain)
    except WorkerLost as lost:
        raise InvalidInput(
            f"{name} cannot be parsed: {lost.reason}.", "Check it with another IFC program.", code="IFC_PARSER_LOST"
        ) from lost
    if answer[0] == "failed":
        raise ifc_file.parse_failed(plain, name, *answer[1:])
    return answer[1], answer[2]


def _check_whole(plain: Path, name: str, facts: dict[str, Any], log: str) -> None:
    """Every instance of the text must have been parsed, and there must be a project with products."""
    if sum(1 for _ in ifc_file.instance_ids(plain)) != facts["n_instances"]:
        _refuse_partial(plain, name, facts, log)
    if facts["n_projects"] == 0:
        raise InvalidInput(f"{name} has no IfcProject.", "Export the whole model.", code="IFC_EMPTY")
    if not facts["elements"] and not facts["spatial"]:
        raise InvalidInput(
            f"{name} has neither elements nor a spatial structure.", "Export it again.", code="IFC_EMPTY"
        )


def _refuse_partial(plain: Path, name: str, facts: dict[str, Any], log: str) -> None:
    offsets: dict[int, int] = {}
    repeated: tuple[int, int] | None = None
    for each, offset in ifc_file.instance_ids(plain):
        if each in offsets and repeated is None:
            repeated = (each, offset)
        offsets.setdefault(each, offset)
    lost = ask(plain, [("survey",), ("missing", list(offsets))])[1][1]
    first = (lost[0], offsets[lost[0]]) if lost else repeated
    said = ifc_file.first_error_line(plain, log)
    words = f"; the parser says at line {said[0]}: {said[1]}" if said else ""
    if first is None:
        return
    what = "cannot be parsed" if lost else "is defined twice"
    raise InvalidInput(
        f"{name}: of {len(offsets)} instances only {facts['n_instances']} could be read; "
        f"#{first[0]} at line {ifc_file.line_of(plain, first[1])} {what}{words}.",
        "Correct that line or export the file again.",
        code="IFC_SYNTAX",
    )


@dataclass
class _Hull:
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
class _Model:
    """One model between reading and the end of its batches."""

    path: Path
    unpacked: ifc_file.Unpacked
    facts: dict[str, Any]
    placement: Placement
    hints: Hints
    hulls: dict[str, _Hull] = field(default_factory=dict)
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
        self._meshed = False
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

    def _chunks(self, products: list[tuple[int, str, bool]]) -> Iterator[Chunk]:
        for number, start in enumerate(range(0, len(products), CHUNK)):
            part = products[start : start + CHUNK]
            wanted = [each[0] for each in part if each[2] and each[0] not in self._duplicates]
            yield Chunk(number, [each[0] for each in part], wanted)

    def _run(self, layer: VectorLayer, products: list[tuple[int, str, bool]], tally: Tally) -> Iterator[Chunk]:
        """Chunks with rows and shapes; duplicates are already rejected and out of the rows."""
        n_workers = min(2, os.cpu_count() or 1, 1 + len(products) // CHUNK)
        for chunk in Pool(self.unpacked.path, n_workers, tally).run(self._chunks(products)):
            layer.n_read += len(chunk.ids)
            kept = []
            for row in chunk.rows:
                row["model"] = self.path.name
                if row["id"] in self._duplicates:
                    message = f"GlobalId {row['ifc_guid']} is used by an earlier product of this file."
                    layer.rejects.append(Reject("IFC_DUPLICATE_GUID", f"#{row['id']}", message, _content(row)))
                else:
                    kept.append(row)
            chunk.rows = kept
            yield chunk

    def _element_batches(self) -> Iterator[FeatureBatch]:
        layer, tally = self.elements, Tally()
        _restart(layer)
        self.hulls.clear()
        for chunk in self._run(layer, self._element_products, tally):
            reasons = {miss.id: miss.reasons for miss in chunk.misses()}
            rows, meshes, geometries = [], [], []
            for row in chunk.rows:
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
                geometries.append(ifc_batch.footprint(mesh.vertices, self.placement.crs_unit_m))
            if rows:
                yield ifc_batch.batch(self.element_type, rows, geometries, list[Mesh | None](meshes))
        self._meshed = True
        layer.issues += _kernel_issues(self.path.name, tally) + self._left_out()

    def _grow(self, row: dict[str, Any], mesh: Mesh) -> None:
        corners = _corners(mesh.vertices)
        for guid in row["ancestors"]:
            if guid in self.hulls:
                self.hulls[guid].add(corners)
            else:
                self.hulls[guid] = _Hull(corners)

    def _finished(self, row: dict[str, Any], points: NDArray[np.float64] | None, kernel: str | None) -> dict[str, Any]:
        row = _content(row) | {"kernel": kernel}
        if not row["name"]:
            row["name"] = row["long_name"]
        if points is not None:
            row |= {"base_elev_m": float(points[:, 2].min()), "top_elev_m": float(points[:, 2].max())}
        known = {each.name for each in self.element_type.attributes}
        return row | {key: value for key, value in self.hints.values.items() if key in known}

    def _assembly_batches(self) -> Iterator[FeatureBatch]:
        layer, tally = self.assemblies, Tally()
        _restart(layer)
        if not self._meshed:
            for _ in self._element_batches():
                pass
        n_own, n_alone = 0, 0
        for chunk in self._run(layer, self._assembly_products, tally):
            rows, geometries = [], []
            for row in chunk.rows:
                points = self._extent(row, chunk)
                n_own += row["id"] in chunk.shapes
                n_alone += row["ifc_class"] not in _SPATIAL and not row["has_parts"] and row["cim_level"] > 5
                rows.append(self._finished(row, points, None))
                unit = self.placement.crs_unit_m
                geometries.append(None if points is None else ifc_batch.footprint(points, unit))
            if rows:
                yield ifc_batch.batch(self.assembly_type, rows, geometries, None)
        if n_own:
            message = f"{n_own} spatial elements have shapes of their own: their footprints are kept, not their meshes."
            layer.issues.append(Issue("IFC_SPATIAL_SHAPE", self.path.name, message, severity="info"))
        if n_alone:
            message = f"{n_alone} elements have neither a body nor parts: their attributes are kept in bim_assembly."
            layer.issues.append(Issue("IFC_ELEMENT_WITHOUT_BODY", self.path.name, message, severity="info"))

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


_SPATIAL = ("IfcSpace",)


def _restart(layer: VectorLayer) -> None:
    layer.n_read = 0
    layer.issues.clear()
    layer.rejects.clear()


def _content(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"id", "ancestors", "has_parts"}}


def _kernel_issues(name: str, tally: Tally) -> list[Issue]:
    made = ", ".join(f"{kernel} made {count}" for kernel, count in tally.made.most_common()) or "no element was meshed"
    issues = [Issue("IFC_KERNELS", name, f"Meshes: {made}.", severity="info")]
    for words, counter in (("crashed on", tally.crashes), ("took too long for", tally.timeouts)):
        for kernel, count in counter.items():
            message = f"The kernel {kernel} {words} {count} elements; they were tried with the next one."
            issues.append(Issue("IFC_KERNEL_LOST", name, message, "Nothing to do if no element was rejected.", "info"))
    return issues
