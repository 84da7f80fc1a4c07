"""What city.toml asked to be done to a file's coordinates: repairs by name, then control points. Never unasked.

Readers know nothing of it: `moved` wraps their layers, whose batches are changed one by one as they stream.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from ingest import control_points
from ingest.city_toml import FileHints
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
        steps = [
            repair(own.correct, crs.horizontal(layer.crs)),
            fitted.apply if fitted else None,
            _raised(own.vertical_offset_m) if own.vertical_offset_m else None,
        ]
        layer.batches = _batches(layer.batches, [step for step in steps if step], own.vertical_offset_m)
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


def _raised(offset_m: float) -> Move:
    def move(xyz: FloatArray) -> FloatArray:
        out = np.array(xyz, np.float64)
        out[:, 2:] += offset_m
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
        if "control_points" not in reading.certificate.parameters:
            problem = f"{reading.path.name}: control points are for features and rasters, not for {layer.kind}."
            raise InvalidInput(problem, "Georeference the file itself.", code="CONTROL_POINTS_UNFIT")


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


def _batches(
    read: Callable[[], Iterator[FeatureBatch]], steps: list[Move], offset_m: float | None
) -> Callable[[], Iterator[FeatureBatch]]:
    def move(xyz: FloatArray) -> FloatArray:
        for step in steps:
            xyz = step(xyz)
        return xyz

    def stream() -> Iterator[FeatureBatch]:
        for batch in read():
            meshes = None if batch.meshes is None else [_mesh(mesh, move) for mesh in batch.meshes]
            attributes = raised_elevations(batch.attributes, offset_m) if offset_m else batch.attributes
            yield replace(batch, geometry=geometries(batch.geometry, move), meshes=meshes, attributes=attributes)

    return stream


def raised_elevations(attributes: pa.Table, offset_m: float) -> pa.Table:
    """Columns named `*_elev_m` are heights in the source's datum too: they move with z."""
    for i, field in enumerate(attributes.schema):
        if field.name.endswith("_elev_m") and pa.types.is_floating(field.type):
            attributes = attributes.set_column(i, field, pc.add(attributes.column(i), pa.scalar(offset_m, field.type)))
    return attributes


def _mesh(mesh: Mesh | None, move: Move) -> Mesh | None:
    """A shared shape stays as it is: it is in a frame of its own, and the copies' places have moved."""
    return None if mesh is None else replace(mesh, vertices=move(mesh.vertices))


def geometries(given: NDArray[np.object_], move: Move) -> NDArray[np.object_]:
    """(n,) geometries or None, each coordinate moved; z is given to `move` where there is one."""
    out = np.array(given, dtype=object)
    has_z = shapely.has_z(out)
    for chosen, with_z in ((~has_z, False), (has_z, True)):
        if chosen.any():
            out[chosen] = shapely.transform(out[chosen], move, include_z=with_z)
    return out
