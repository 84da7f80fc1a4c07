"""`same_as`: models of buildings linked to the footprints of the same buildings, after all sources are in the store.

A model is a feature of layer `building` of LoD 2 or more, or the building of an IFC file, whose outline is the hull of
its elements. A link that a source gives itself stays. Links of this module are those with `same_as_overlap`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.issue import Issue
from twin.fuse.columns import numbers, words
from twin.fuse.notes import Notes
from twin.fuse.same_as import FloatArray, match
from twin.store.interface import Features, Query, WriteBatch

LINKED = ("building", "bim_assembly", "bim_element")
MODEL_LOD = 2.0
_AT_ONCE = 50_000
_CHANGED = 0.0005
"""Overlaps are kept to a thousandth."""


@dataclass
class _Models:
    """(n,) models of one layer: what they have and what was found."""

    fids: NDArray[np.int64]
    ids: list[str]
    outlines: NDArray[np.object_]
    source: NDArray[np.object_]
    same_as: NDArray[np.object_]
    overlap: FloatArray
    found: NDArray[np.object_]
    found_overlap: FloatArray
    common_m2: FloatArray
    rivals: NDArray[np.int64]


def is_needed(touched: Iterable[str]) -> bool:
    """True if a transaction has touched buildings or models of them."""
    return bool(set(touched) & set(LINKED))


def link(batch: WriteBatch) -> list[Issue]:
    """Set `same_as` and `same_as_overlap` of all models; only rows whose values change are written.

    Memory: the models, and 50,000 footprints at a time.
    """
    notes = Notes()
    asked = {"building": _city_models(batch), "bim_assembly": _ifc_buildings(batch)}
    models = {layer_id: each for layer_id, each in asked.items() if each is not None}
    if models:
        for block in batch.query("building", Query(properties=("lod", "source")), _AT_ONCE):
            rows = np.flatnonzero(~_is_model(block) & ~shapely.is_missing(block.geometry))
            for each in models.values():
                _compare(each, block, rows)
    for layer_id, each in models.items():
        _write(batch, layer_id, each)
        _tell(each, notes)
    return notes.issues()


def _is_model(block: Features) -> NDArray[np.bool_]:
    return np.array([_lod(text) >= MODEL_LOD for text in words(block.attributes, "lod")], bool)


def _lod(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _city_models(batch: WriteBatch) -> _Models | None:
    has_lod = {"op": "not", "args": [{"op": "isNull", "args": [{"property": "lod"}]}]}
    asked = Query(properties=("lod", "source", "same_as", "same_as_overlap"), filter=has_lod)
    blocks = [(block, np.flatnonzero(_is_model(block))) for block in batch.query("building", asked)]
    return _models([(block, rows, block.geometry[rows]) for block, rows in blocks if rows.size])


def _ifc_buildings(batch: WriteBatch) -> _Models | None:
    """Buildings of IFC files with the hull of everything that belongs to them."""
    parent: dict[str, str] = {}
    blocks: list[tuple[Features, NDArray[np.int64]]] = []
    names = ("ifc_class", "parent_id", "source", "same_as", "same_as_overlap")
    for block in batch.query("bim_assembly", Query(properties=names, with_geometry=False)):
        kinds = words(block.attributes, "ifc_class")
        blocks.append((block, np.flatnonzero(kinds == "IfcBuilding")))
        parents = words(block.attributes, "parent_id")
        parent.update((own, above) for own, above in zip(block.ids, parents, strict=True) if above)
    wanted = {block.ids[row] for block, rows in blocks for row in rows.tolist()}
    if not wanted:
        return None
    parts: dict[str, list[shapely.Geometry]] = {}
    for block in batch.query("bim_element", Query(properties=("parent_id",))):
        boxes = shapely.convex_hull(shapely.force_2d(block.geometry))
        for shape, above in zip(boxes, words(block.attributes, "parent_id"), strict=True):
            owner = _owner(above, parent, wanted)
            if owner is not None and shape is not None:
                parts.setdefault(owner, []).append(shape)
    return _models(
        [
            (block, rows, np.array([_hull(parts.get(block.ids[row])) for row in rows.tolist()], dtype=object))
            for block, rows in blocks
            if rows.size
        ]
    )


def _owner(name: str | None, parent: dict[str, str], wanted: set[str]) -> str | None:
    seen = 0
    while name is not None and name not in wanted:
        name, seen = parent.get(name), seen + 1
        if seen > len(parent):  # parts that contain each other
            return None
    return name


def _hull(parts: list[shapely.Geometry] | None) -> shapely.Geometry | None:
    hull = shapely.convex_hull(shapely.union_all(parts)) if parts else None
    return hull if hull is not None and hull.geom_type == "Polygon" else None


def _models(parts: list[tuple[Features, NDArray[np.int64], NDArray[np.object_]]]) -> _Models | None:
    if not parts:
        return None
    tables = pa.concat_tables([block.attributes.take(pa.array(rows)) for block, rows, _ in parts])
    n = tables.num_rows
    return _Models(
        np.concatenate([block.fids[rows] for block, rows, _ in parts]),
        [block.ids[row] for block, rows, _ in parts for row in rows.tolist()],
        np.concatenate([outlines for _, _, outlines in parts]),
        words(tables, "source"), words(tables, "same_as"), numbers(tables, "same_as_overlap"),
        np.full(n, None, object), np.full(n, np.nan), np.zeros(n), np.zeros(n, np.int64),
    )  # fmt: skip


def _compare(models: _Models, block: Features, rows: NDArray[np.int64]) -> None:
    """Take better footprints of a block; one that comes from the model's own file is another building of it."""
    source = words(block.attributes, "source")
    for file in set(models.source.tolist()):
        own = np.flatnonzero(models.source == file)
        others = rows[source[rows] != file]
        if not others.size:
            continue
        found = match(models.outlines[own], block.geometry[others])
        models.rivals[own] += found.rivals + ((found.footprint >= 0) & (models.common_m2[own] > 0))
        better = np.flatnonzero(found.common_m2 > models.common_m2[own])
        at = own[better]
        models.common_m2[at] = found.common_m2[better]
        models.found_overlap[at] = np.round(found.overlap[better], 3)
        models.found[at] = np.array(block.ids, dtype=object)[others[found.footprint[better]]]


def _write(batch: WriteBatch, layer_id: str, models: _Models) -> None:
    is_given = np.array([each is not None for each in models.same_as], bool) & np.isnan(models.overlap)
    same = np.array([a == b for a, b in zip(models.same_as, models.found, strict=True)], bool)
    same &= np.isclose(models.overlap, models.found_overlap, rtol=0, atol=_CHANGED, equal_nan=True)
    rows = np.flatnonzero(~is_given & ~same)
    values = {
        "same_as": pa.array(models.found[rows].tolist(), pa.string()),
        "same_as_overlap": pa.array(models.found_overlap[rows], pa.float64(), from_pandas=True),
    }
    batch.set_derived(layer_id, models.fids[rows], pa.table(values))


def _tell(models: _Models, notes: Notes) -> None:
    rows = np.flatnonzero(models.rivals > 0).tolist()
    notes.add(
        "SAME_AS_AMBIGUOUS", [models.ids[row] for row in rows],
        [f"{models.rivals[row]} more footprints lie under this model; it is linked to {models.found[row]!r}, with "
         f"which it shares most (overlap {models.found_overlap[row]:.2f})." for row in rows],
        "Look whether the footprints are parts of one building.", "info",
    )  # fmt: skip
