"""What city.toml asked to be done to a file's coordinates: repairs by name, then control points. Never unasked.

Readers know nothing of it: `moved` wraps their layers, whose batches are changed one by one as they stream.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest import control_points
from ingest.city_toml import FileHints
from ingest.mesh.parts import is_closed
from ingest.source_keys import REPAIRS
from layers import crs, gcj02
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.mesh import Mesh
from layers.source import AssetLayer, ControlPoint, FeatureBatch, Hints, Reading, VectorLayer

FloatArray = NDArray[np.float64]
Move = Callable[[FloatArray], FloatArray]
"""(n, 2) or (n, 3) -> the same shape."""

_WORDS = {
    "given-crs": "the CRS of city.toml was believed, not the file's, as asked",
    "swap-axes": "x and y were swapped, as asked",
    "zone-prefix": "the zone number before the eastings was made that of the CRS, as asked",
    "bd09": "BD-09 was turned back into WGS 84, as asked",
    "gcj02": "GCJ-02 was turned back into WGS 84, as asked",
}


def repair(corrections: tuple[str, ...], horizontal: str | None) -> Move | None:
    """The repairs as one function on coordinates that are said to be in `horizontal`; None where there is nothing.

    Raises InvalidInput for a repair that is not known, or that the CRS makes senseless.
    """
    unknown = [each for each in corrections if each not in REPAIRS]
    if unknown:
        raise InvalidInput(f"correct = {unknown[0]!r} is not known.", f"There are {', '.join(REPAIRS)}.")
    if not set(corrections) - {"given-crs"} or horizontal is None:
        return None
    if {"bd09", "gcj02"} <= set(corrections):
        raise InvalidInput("gcj02 and bd09 exclude each other.", "Name the one that the data is in.")
    zone = _zone(horizontal) if "zone-prefix" in corrections else None

    def move(xyz: FloatArray) -> FloatArray:
        out = np.array(xyz, np.float64)
        if "swap-axes" in corrections:
            out[:, [0, 1]] = out[:, [1, 0]]
        if zone is not None:
            out[:, 0] = crs.with_zone(out[:, 0], *zone)
        for name, undo in (("bd09", gcj02.from_bd09), ("gcj02", gcj02.from_gcj02)):
            if name in corrections:
                lon, lat = crs.transform(horizontal, crs.WGS84, out[:, 0], out[:, 1])
                out[:, 0], out[:, 1] = crs.transform(crs.WGS84, horizontal, *undo(lon, lat))
        return out

    return move


def _zone(horizontal: str) -> tuple[frozenset[int], int | None]:
    zones = crs.gauss_zones(horizontal)
    if zones is None:
        name = crs.parse(horizontal).name
        problem = f"correct = zone-prefix makes no sense in {name}: it is no Gauss-Krüger zone."
        raise InvalidInput(problem, "Remove it, or give the true CRS.", code="ZONE_PREFIX")
    return zones


def moved(reading: Reading, hints: Hints) -> Reading:
    """Repair the reading's vector layers and lay them on control points, in place; its certificates say so.

    A table's own hints (`[[source]]` with `table`) go before the file's.
    """
    tables = {layer.name: _for_table(hints, layer.name) for layer in reading.layers if isinstance(layer, VectorLayer)}
    told = [hints, *tables.values()]
    if not any(each.correct or each.control_points or each.vertical_offset_m for each in told):
        return reading
    _refuse_assets(reading, hints)
    name = reading.path.name
    fits: dict[tuple[ControlPoint, ...], control_points.Fit] = {}
    for layer in reading.layers:
        if not isinstance(layer, VectorLayer) or layer.crs is None:
            continue
        own = tables[layer.name]
        if own.control_points and own.control_points not in fits:
            fits[own.control_points] = control_points.fit(own.control_points)
        fitted = fits.get(own.control_points)
        layer.batches = _batches(layer.batches, _way(layer, own, fitted))
        if own.vertical_offset_m is not None:  # what was told leads to the city's datum, whatever the file states
            layer.crs, layer.vertical_crs = crs.horizontal(layer.crs), None
        layer.certificate = certified(layer.certificate or reading.certificate, own, fitted)
    if hints.correct or hints.vertical_offset_m is not None or fits.get(hints.control_points):
        reading.certificate = certified(reading.certificate, hints, fits.get(hints.control_points))
    done = {each: None for said in told for each in said.correct}
    reading.issues += [Issue("CORRECTED", name, f"{_WORDS[each]}.", "", "info") for each in done]
    hint = "Check the pairs in city.toml."
    for fitted in fits.values():
        reading.issues += [Issue("CONTROL_POINTS", name, words, hint, "warning") for words in fitted.suspects]
    return reading


@dataclass(frozen=True)
class _Way:
    """What is done to every coordinate of a layer.

    Attributes
    ----------
    is_mirror : x and y are swapped, so that solids turn inside out
    height_scale : of control points that change the unit: heights in attributes are in metres already
    """

    steps: tuple[Move, ...]
    is_mirror: bool
    moves_heights: bool
    height_scale: float = 1.0

    def __call__(self, xyz: FloatArray) -> FloatArray:
        for step in self.steps:
            xyz = step(xyz)
        return xyz


def _way(layer: VectorLayer, hints: Hints, fitted: control_points.Fit | None) -> _Way:
    stated = layer.vertical_crs or (crs.vertical(layer.crs) if layer.crs else None) or layer.crs
    steps = [
        repair(hints.correct, crs.horizontal(layer.crs)) if layer.crs else None,
        fitted.apply if fitted else None,
        None if hints.vertical_offset_m is None else _raised(hints.vertical_offset_m, _unit_m(stated)),
    ]
    scale = 1.0 if fitted is None else float(np.linalg.norm(fitted.matrix[2]))
    return _Way(
        tuple(step for step in steps if step),
        is_mirror="swap-axes" in hints.correct,
        moves_heights=fitted is not None or hints.vertical_offset_m is not None,
        height_scale=scale if abs(scale - 1) > control_points.UNIT_SCALE else 1.0,
    )


def _unit_m(stated: str | None) -> float:
    """Metres in a unit of heights that are in `stated`; 1 for what is no CRS (`ellipsoidal`)."""
    try:
        return 1.0 if stated is None else crs.metres_per_height(stated)
    except InvalidInput:
        return 1.0


def _raised(offset_m: float, unit_m: float) -> Move:
    """Heights become metres upwards, then take the offset."""

    def move(xyz: FloatArray) -> FloatArray:
        out = np.array(xyz, np.float64)
        out[:, 2:] = out[:, 2:] * unit_m + offset_m
        return out

    return move


def _for_table(hints: Hints, table: str) -> Hints:
    return hints.for_table(table) if isinstance(hints, FileHints) else hints


def _refuse_assets(reading: Reading, hints: Hints) -> None:
    for layer in reading.layers:
        if not isinstance(layer, AssetLayer):
            continue
        if hints.correct:
            problem = f"{reading.path.name}: correct is for features; a {layer.kind} asset is left as it is."
            raise InvalidInput(problem, "Correct the file itself, or remove correct.", code="CORRECT_UNFIT")
        if hints.control_points and "control_points" not in reading.certificate.parameters:
            problem = f"{reading.path.name}: control points are for features and rasters, not for {layer.kind}."
            raise InvalidInput(problem, "Georeference the file itself.", code="CONTROL_POINTS_UNFIT")
        if hints.vertical_offset_m and layer.height_offset_m is None and layer.kind != "raster":
            problem = f"{reading.path.name}: vertical_offset_m is for features and elevations, not for {layer.kind}."
            raise InvalidInput(problem, "Give the file's height datum as vertical_crs.", code="CORRECT_UNFIT")


def certified(read: Certificate, hints: Hints, fitted: control_points.Fit | None) -> Certificate:
    """The reader's certificate with what was done to the coordinates after it."""
    made = read
    if hints.correct:
        done = [_WORDS[each] for each in REPAIRS if each in hints.correct]
        accuracy = gcj02.ACCURACY_M if {"gcj02", "bd09"} & set(hints.correct) else read.accuracy_m
        made = replace(made, accuracy_m=accuracy, parameters={**made.parameters, "corrections": done})
    if hints.vertical_offset_m is not None:
        made = replace(made, parameters={**made.parameters, "vertical_offset_m": hints.vertical_offset_m})
    if fitted is not None:
        made = replace(
            made,
            method="control-points",
            accuracy_m=fitted.rms_m if fitted.redundancy > 0 else None,
            parameters={**made.parameters, "control_points": fitted.parameters()},
            contradictions=(*made.contradictions, *fitted.suspects),
        )
    return made


def _batches(read: Callable[[], Iterator[FeatureBatch]], way: _Way) -> Callable[[], Iterator[FeatureBatch]]:
    def stream() -> Iterator[FeatureBatch]:
        for batch in read():
            meshes = None if batch.meshes is None else [_mesh(mesh, way) for mesh in batch.meshes]
            attributes = _elevations(batch, way) if way.moves_heights else batch.attributes
            yield replace(batch, geometry=geometries(batch.geometry, way), meshes=meshes, attributes=attributes)

    return stream


def _elevations(batch: FeatureBatch, way: _Way) -> pa.Table:
    """Columns named `*_elev_m` are heights in the source's system too: they move as a point amid the feature would."""
    attributes = batch.attributes
    columns = [(i, each) for i, each in enumerate(attributes.schema) if each.name.endswith("_elev_m")]
    columns = [(i, each) for i, each in columns if pa.types.is_floating(each.type)]
    if not columns:
        return attributes
    amid = _middles(batch)
    for i, field in columns:
        values = attributes.column(i).to_numpy().astype(np.float64)
        known = np.isfinite(values)
        places = np.column_stack([amid[known], values[known] / way.height_scale])
        values = np.where(known, values, np.nan)
        values[known] = way(places)[:, 2]
        attributes = attributes.set_column(i, field, pa.array(values, field.type, mask=~known))
    return attributes


def _middles(batch: FeatureBatch) -> FloatArray:
    """(n, 2) a place amid each feature, by its box or its mesh; the mean of the others where it has neither."""
    boxes = np.asarray(shapely.bounds(batch.geometry), np.float64).reshape(-1, 4)
    amid = (boxes[:, :2] + boxes[:, 2:]) / 2
    for i in np.flatnonzero(np.isnan(amid[:, 0])) if batch.meshes is not None else ():
        mesh = batch.meshes[i] if batch.meshes is not None else None
        if mesh is not None and len(mesh.vertices):
            amid[i] = mesh.vertices[:, :2].mean(axis=0)
    without = np.isnan(amid[:, 0])
    amid[without] = amid[~without].mean(axis=0) if not without.all() else 0.0
    return amid


def _mesh(mesh: Mesh | None, way: _Way) -> Mesh | None:
    """A shared shape stays as it is: it is in a frame of its own, and the copies' places have moved.

    Not where axes are swapped: no motion leads from a shape to its mirror image. A closed mesh looks outwards after
    it as before; an open one keeps the order that its file gave it.
    """
    if mesh is None:
        return None
    made = replace(mesh, vertices=way(mesh.vertices))
    if not way.is_mirror:
        return made
    made = replace(made, shared=None)
    if len(made.triangles) and is_closed(made) and made.volume_m3() < 0:
        made = replace(made, triangles=made.triangles[:, ::-1].copy())
    return made


def geometries(given: NDArray[np.object_], move: Move) -> NDArray[np.object_]:
    """(n,) geometries or None, each coordinate moved; z is given to `move` where there is one."""
    out = np.array(given, dtype=object)
    has_z = shapely.has_z(out)
    for chosen, with_z in ((~has_z, False), (has_z, True)):
        if chosen.any():
            out[chosen] = shapely.transform(out[chosen], move, include_z=with_z)
    return out
