"""Objects of one layer of a CityGML file -> chunks for the feature stream."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from ingest.citygml.appearance import Images
from ingest.citygml.build import Builder, Built
from ingest.citygml.findings import Findings
from ingest.citygml.geometry import Float, Links
from ingest.citygml.objects import features, is_utility
from ingest.citygml.raw import Raw, take
from ingest.citygml.stream import XLINK_HREF, local, members
from ingest.citygml.survey import Survey
from ingest.geometry import Conformed, check, kind
from ingest.stream import Chunk
from layers import crs
from layers.catalogue import LayerType
from layers.issue import Issue
from layers.mesh import Mesh
from layers.source import Hints, VectorLayer

BATCH_OBJECTS = 500
BATCH_POINTS = 400_000

ID, Z_MIN, TALL, MORE, PARTS = "__id", "__z_min", "__tall", "more", "parts"


class LayerReader:
    """One layer: the objects of one catalogue type in one CRS.

    Parameters
    ----------
    found : the survey
    layer, layer_type : as given to the twin; issues go to the layer
    systems : the `srsName`s whose objects belong here; of these, the refused ones give rejects
    columns : of the file, those that are not in it go to `more`
    hints : of the source
    """

    def __init__(
        self,
        found: Survey,
        layer: VectorLayer,
        layer_type: LayerType,
        systems: set[str],
        columns: list[str],
        *,
        hints: Hints,
    ) -> None:
        self.found, self.layer, self.type, self.systems, self.columns = found, layer, layer_type, systems, columns
        self._hints = hints
        self._known = set(columns)

    def chunks(self) -> Iterator[Chunk]:
        """All objects in the order of the file."""
        findings = Findings()
        images = Images(self.found.path.parent, self._hints.root)
        degrees = self.layer.crs is not None and crs.is_geographic(self.layer.crs)
        builder = Builder(self.found.store, images, findings, is_degrees=degrees)
        raws: list[Raw] = []
        size = 0
        for raw in self._raws(findings):
            raws.append(raw)
            size += raw.n_points
            if len(raws) >= BATCH_OBJECTS or size >= BATCH_POINTS:
                yield self._chunk(raws, builder.build(raws))
                raws, size = [], 0
        if raws:
            yield self._chunk(raws, builder.build(raws))
        findings.judge_axes(*builder.turns, will_swap="swap-axes" in self._hints.correct)
        self.layer.issues += [*findings.issues(self.found.name), *images.issues(self.found.name)]

    def _raws(self, findings: Findings) -> Iterator[Raw]:
        for member in members(self.found.path, self.found.name):
            if member.kind != "object" or is_utility(member.element):
                continue
            links = Links(member.element, self.found.store)
            for made in features(member.element):
                srs = self.found.srs_of(made)
                if made.layer != self.type.id or srs not in self.systems:
                    continue
                system = self.found.systems[srs]
                raw = take(made, links, self.found.dimension, swapped=system.swapped, findings=findings)
                if system.refusal is not None:
                    raw.bad = (system.refusal.code, system.refusal.problem)
                if made.object_type == "CityObjectGroup":
                    raw.bad = None if raw.bad is not None and raw.bad[0] == "CG_NO_GEOMETRY" else raw.bad
                    hrefs = [each.get(XLINK_HREF, "") for each in made.element if local(each) == "groupMember"]
                    raw.members = [each.lstrip("#") for each in hrefs if each]
                yield raw

    def _chunk(self, raws: list[Raw], built: list[Built]) -> Chunk:
        bad = {row: raw.bad for row, raw in enumerate(raws) if raw.bad is not None}
        shapes = None
        meshes: list[Mesh | None] | None = [each.mesh for each in built]
        if self.type.geometry == "none":
            meshes = None
        else:
            shapes = self._shapes(raws, built, bad)
        table = self._table(raws, built)
        where = [f"{self.found.name} {raw.where}" for raw in raws]
        outlines = [each.outline for each in built]
        return Chunk(
            table,
            shapes,
            _marks(raws, built, shapes),
            None,
            lambda row: where[row],
            meshes,
            bad,
            lambda row: _original(raws[row], outlines[row]),
        )

    def _shapes(self, raws: list[Raw], built: list[Built], bad: dict[int, tuple[str, str]]) -> Conformed:
        wanted = kind(self.type.geometry)
        has_z = self.type.geometry.endswith("Z")
        array = np.full(len(raws), None, object)
        for row, (raw, each) in enumerate(zip(raws, built, strict=True)):
            if raw.bad is None:
                array[row] = _shape(raw, each, wanted, has_z=has_z)
                if array[row] is None and each.mesh is None:
                    bad[row] = ("CG_NO_OUTLINE", f"Its geometry gives no {wanted.lower()} in plan, and no mesh.")
        given = np.array([each is not None for each in array], bool)
        out = Conformed(array)
        if given.any():
            some = check(Conformed(array[given]))
            rows = np.flatnonzero(given)
            array[given] = some.geometry
            out.rejected = {int(rows[row]): reason for row, reason in some.rejected.items()}
            out.flattened = [int(rows[row]) for row in some.flattened]
        return out

    def _table(self, raws: list[Raw], built: list[Built]) -> pa.Table:
        arrays = [_array([raw.attributes.get(column) for raw in raws]) for column in self.columns]
        parent = "building_id" if self.type.attribute("building_id") is not None else "parent_id"
        made: dict[str, list[Any]] = {
            ID: [raw.id for raw in raws],
            "object_type": [raw.object_type for raw in raws],
            "lod": [None if raw.lod is None else str(raw.lod) for raw in raws],
            parent: [raw.parent_id for raw in raws],
            Z_MIN: [each.z_min for each in built],
            TALL: [None if each.z_max is None or each.z_min is None else each.z_max - each.z_min for each in built],
            PARTS: [_json(raw.parts) for raw in raws],
            "members": [_json(raw.members) for raw in raws],
            MORE: [_json({k: v for k, v in raw.attributes.items() if k not in self._known}) for raw in raws],
        }
        types = {Z_MIN: pa.float64(), TALL: pa.float64()}
        for name, values in made.items():
            if name not in self._known:
                arrays.append(pa.array(values, types.get(name, pa.string())))
        names = [*self.columns, *(name for name in made if name not in self._known)]
        return pa.Table.from_arrays(arrays, names=names)


def _marks(raws: list[Raw], built: list[Built], shapes: Conformed | None) -> list[bytes | None]:
    """What tells objects without `gml:id` apart, wherever they stand in the file: plan and lowest height."""
    if shapes is None:
        return [None] * len(raws)
    wkb = shapely.to_wkb(shapes.geometry)
    return [
        None if raw.id or plan is None else plan + repr((raw.object_type, each.z_min)).encode()
        for raw, each, plan in zip(raws, built, wkb.tolist(), strict=True)
    ]


def made_columns(layer_type: LayerType, columns: list[str]) -> list[str]:
    """Names of the columns that the reader adds to the file's."""
    parent = "building_id" if layer_type.attribute("building_id") is not None else "parent_id"
    return [
        each
        for each in (ID, "object_type", "lod", parent, Z_MIN, TALL, PARTS, "members", MORE)
        if each not in columns and not each.startswith("__")
    ]


def _shape(raw: Raw, built: Built, wanted: str, *, has_z: bool) -> shapely.Geometry | None:
    if wanted == "Polygon":
        return built.outline
    if wanted == "LineString":
        return shapely.multilinestrings([_line(each, has_z=has_z) for each in raw.lines]) if raw.lines else None
    if raw.points:
        points = [shapely.Point(_plain(each, has_z=has_z)[0]) for each in raw.points]
        return points[0] if len(points) == 1 else shapely.multipoints(points)
    if raw.instances:
        return shapely.Point(raw.instances[0].point[: 3 if has_z else 2])
    if built.mesh is None:
        return None if built.outline is None else shapely.centroid(built.outline)
    low, high = built.mesh.vertices.min(axis=0), built.mesh.vertices.max(axis=0)
    middle = (low + high) / 2
    return shapely.Point([middle[0], middle[1], low[2]] if has_z else middle[:2])


def _line(points: Float, *, has_z: bool) -> shapely.Geometry:
    return shapely.LineString(_plain(points, has_z=has_z))


def _plain(points: Float, *, has_z: bool) -> Float:
    return points if has_z and np.isfinite(points[:, 2]).all() else points[:, :2]


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def _original(raw: Raw, outline: shapely.Geometry | None) -> dict[str, Any]:
    content: dict[str, Any] = {"id": raw.id, "type": raw.object_type, **raw.attributes}
    if raw.content:
        content["gml"] = raw.content
    elif outline is not None:
        content["geometry"] = shapely.to_wkt(outline, rounding_precision=-1)
    return content


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) == 1 and kinds <= {int, float}:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        return ";".join(map(str, value)) if all(isinstance(each, str) for each in value) else json.dumps(value)
    return None if value is None else str(value)


def skipped_issues(found: Survey) -> list[Issue]:
    """What the survey met and nobody reads, by name."""
    issues = [
        Issue("CG_NOT_READ", found.name, f"{count} × {what} is not read.", "", "warning")
        for what, count in found.skipped.items()
    ]
    if found.store.is_full:
        message = "So much geometry is shared between members that not all of it was followed."
        issues.append(Issue("CG_TOO_MANY_LINKS", found.name, message, "Export in smaller tiles.", "warning"))
    return issues
