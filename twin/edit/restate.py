"""Stored features -> features as a source would state them, so that fusing them again follows an edit.

What fusion derived is taken back where the edit changes what it was derived from: a base that is the ground under the
old outline, a height that was measured or counted from storeys, an axis that was computed from a stated top or bottom.
What was stated stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.issue import Issue
from twin.fuse import buildings, pipe_size, pipes
from twin.fuse.columns import numbers, with_column, words
from twin.fuse.notes import Notes
from twin.terrain import Terrain

_ON_GROUND_M = 1e-6
SAME_M = 1e-3
DEPTHS = frozenset({"start_depth_m", "end_depth_m"})
SECTIONS = frozenset({"dn_mm", "od_mm", "width_mm", "height_mm"})
LINK = frozenset({"link_by", "link_distance_m"})


def restated(
    layer_type: LayerType,
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    extra: list[str | None],
    *,
    changed: frozenset[str],
    moved: NDArray[np.bool_],
    terrain: Terrain,
) -> tuple[NDArray[np.object_], pa.Table]:
    """(n,) stored features before an edit of the attributes `changed` and of the geometries `moved`."""
    if layer_type.solid == "extrude":
        attributes = _building(geometry, attributes, changed, moved, terrain)
    elif layer_type.solid == "tube":
        attributes = _section(attributes, extra, changed)
        geometry = pipes.as_stated(geometry, attributes, extra)
        if changed & DEPTHS:
            geometry = _without_derived_z(geometry, attributes)
    if layer_type.attribute("estimated") is not None:
        attributes = _unmarked(attributes, changed)
    if "link_id" in changed and layer_type.attribute("link_by") is not None:
        attributes = _emptied(attributes, LINK - changed, np.ones(len(geometry), bool))
    return geometry, attributes


def off_axis(
    layer_type: LayerType, geometry: NDArray[np.object_], attributes: pa.Table, extra: list[str | None]
) -> NDArray[np.object_]:
    """(n,) geometries as they are read, z of pipes on the axis -> as a source states them."""
    return pipes.as_stated(geometry, attributes, extra) if layer_type.solid == "tube" else geometry


def not_taken(
    layer_type: LayerType, given: NDArray[np.object_], made: NDArray[np.object_], names: Sequence[str]
) -> list[Issue]:
    """For pipes whose z was given as it is read, and is another now: stated elevations count more than z of a line."""
    if layer_type.solid != "tube":
        return []
    found = []
    for name, before, after in zip(names, given, made, strict=True):
        if not (shapely.has_z(before) and shapely.has_z(after)):
            continue
        was, now = (shapely.get_coordinates(each, include_z=True)[:, 2] for each in (before, after))
        if len(was) == len(now) and bool((np.abs(was - now) > SAME_M).any()):
            said = "Its heights follow the elevations or depths that are stated: z of the geometry was not taken."
            found.append(Issue("EDIT_Z_NOT_TAKEN", name, said, "Change start_elev_m, end_elev_m or the depths."))
    return found


def _building(
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    changed: frozenset[str],
    moved: NDArray[np.bool_],
    terrain: Terrain,
) -> pa.Table:
    estimated = words(attributes, "estimated")
    is_measured = _has_mark(estimated, "height_m") & ("height_m" not in changed)
    by_floors = np.array([str(each or "").startswith("floors") for each in words(attributes, "height_source")], bool)
    again = is_measured & (moved | (by_floors & ("floors" in changed)) | ("base_elev_m" in changed))
    attributes = _emptied(attributes, {"height_m", "height_source"} - changed, again)
    attributes = _without_mark(attributes, "height_m", again)
    if "height_m" in changed and "height_source" not in changed:
        attributes = _emptied(attributes, {"height_source"}, np.ones(len(geometry), bool))
    if moved.any() and "base_elev_m" not in changed:
        base = numbers(attributes, "base_elev_m")
        on_ground = _has_mark(estimated, "base_elev_m")
        if not terrain.is_empty:
            low, _ = buildings.ground_under(geometry, terrain)
            on_ground = on_ground | (np.abs(base - low) < _ON_GROUND_M)
        attributes = _emptied(attributes, {"base_elev_m"}, moved & on_ground)
        attributes = _without_mark(attributes, "base_elev_m", moved & on_ground)
    return attributes


def _section(attributes: pa.Table, extra: list[str | None], changed: frozenset[str]) -> pa.Table:
    """Sizes that were read from a section given as text go with it."""
    if "section" not in changed or changed & SECTIONS:
        return attributes
    names = [name for name in ("dn_mm", "width_mm", "height_mm") if name in attributes.column_names]
    blank = attributes
    for name in names:
        blank = with_column(blank, name, np.full(attributes.num_rows, np.nan), pa.float64())
    read = pipe_size.read_sections(np.arange(attributes.num_rows).astype(object), blank, extra, Notes())
    for name in names:
        attributes = _emptied(attributes, {name}, numbers(read, name) == numbers(attributes, name))
    return attributes


def _without_derived_z(geometry: NDArray[np.object_], attributes: pa.Table) -> NDArray[np.object_]:
    """Where depths change and no elevation is stated, the depths count, not the z that followed from the old ones."""
    stated = np.isfinite(numbers(attributes, "start_elev_m")) | np.isfinite(numbers(attributes, "end_elev_m"))
    out = np.array(geometry, dtype=object)
    out[~stated] = shapely.force_2d(out[~stated])
    return out


def _unmarked(attributes: pa.Table, changed: frozenset[str]) -> pa.Table:
    """What someone states is no longer estimated."""
    for name in changed:
        attributes = _without_mark(attributes, name, np.ones(attributes.num_rows, bool))
    return attributes


def _has_mark(estimated: NDArray[np.object_], name: str) -> NDArray[np.bool_]:
    return np.array([name in (each or "").split(",") for each in estimated], bool)


def _without_mark(attributes: pa.Table, name: str, rows: NDArray[np.bool_]) -> pa.Table:
    marks = words(attributes, "estimated")
    chosen = np.flatnonzero(rows & _has_mark(marks, name))
    if not chosen.size:
        return attributes
    for row in chosen.tolist():
        marks[row] = ",".join(part for part in marks[row].split(",") if part != name) or None
    return with_column(attributes, "estimated", marks, pa.string())


def _emptied(attributes: pa.Table, names: frozenset[str] | set[str], rows: NDArray[np.bool_]) -> pa.Table:
    """Some attributes of some rows without a value."""
    for name in sorted(names):
        if name in attributes.column_names and rows.any():
            kind = attributes.schema.field(name).type
            values = attributes.column(name).to_pylist()
            kept = [None if away else value for value, away in zip(values, rows.tolist(), strict=True)]
            attributes = attributes.set_column(attributes.column_names.index(name), name, pa.array(kept, kind))
    return attributes


def with_values(attributes: pa.Table, layer_type: LayerType, values: Mapping[str, Any]) -> pa.Table:
    """The same value of each attribute for all rows."""
    for name, value in values.items():
        attribute = layer_type.attribute(name)
        if attribute is not None:
            column = pa.array([value] * attributes.num_rows, attribute.arrow_type)
            at = attributes.schema.get_field_index(name)
            attributes = attributes.set_column(at, name, column) if at >= 0 else attributes.append_column(name, column)
    return attributes
