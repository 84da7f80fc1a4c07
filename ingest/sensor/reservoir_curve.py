"""Stage-storage curves of reservoirs: found by their two columns and units, refused where they do not rise.

A curve that falls, or whose levels are out of order, gives a wrong storage at some level without saying so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest import units
from ingest.columns import fold
from ingest.sensor.columns import bare, split_unit
from ingest.sensor.values import numbers
from ingest.table.sheet import Sheet, slices
from layers.errors import InvalidInput
from layers.issue import Issue, Reject
from layers.source import FeatureBatch, Hints, VectorLayer

LAYER = "reservoir_curve"
CODE = "RESERVOIR_CURVE_NOT_MONOTONE"
MAX_COLUMNS = 6
MIN_ROWS = 3

_LEVELS = ("level", "elevation", "stage", "waterlevel", "水位", "库水位", "高程", "elev")
_STORAGES = ("storage", "volume", "capacity", "库容", "蓄水量", "容积")
_CODES = ("reservoircode", "reservoirid", "reservoir", "水库代码", "水库编码")


def told(sheet: Sheet, hints: Hints) -> Hints:
    """Hints that name the columns and units of a curve, where a table without text is one; else the same hints."""
    if hints.layer not in {None, LAYER} or len(sheet.header) > MAX_COLUMNS:
        return hints
    level = _named(sheet.header, _LEVELS, "m")
    storage = _named(sheet.header, _STORAGES, "m3") or _unit_as_name(sheet.header)
    code = next((column for column in sheet.header if fold(column) in _CODES), None)
    if level is None or storage is None or not _all_numbers(sheet, code):
        return hints
    named = {"level_m": level[0], "storage_1e4m3": storage[0], **({"reservoir_code": code} if code else {})}
    own = {} if code else {"reservoir_code": sheet.name}
    return replace(
        hints,
        layer=LAYER,
        columns={**named, **hints.columns},
        units={"level_m": level[1], "storage_1e4m3": storage[1], **hints.units},
        values={**own, **hints.values},
    )


def _named(header: list[str], names: tuple[str, ...], kind: str) -> tuple[str, str] | None:
    """A column of one of the names whose bracket holds a unit of the kind, and that unit."""
    for column in header:
        unit = split_unit(column)[1]
        if unit and fold(bare(column)) in names and units.factor(unit, kind) is not None:
            return column, unit
    return None


def _unit_as_name(header: list[str]) -> tuple[str, str] | None:
    """A column that is called by its unit: `Acre-Ft`."""
    return next(((column, column) for column in header if units.factor(column, "m3") is not None), None)


def _all_numbers(sheet: Sheet, code: str | None) -> bool:
    first = next(slices(sheet), None)
    if first is None or first.table.num_rows < MIN_ROWS:
        return False
    columns = [first.table.column(name).combine_chunks() for name in sheet.header if name != code]
    return not any(numbers(column).unreadable.any() for column in columns)


@dataclass
class _End:
    level: float
    storage: float


def checked(layer: VectorLayer) -> VectorLayer:
    """The layer, where it holds curves without those that do not rise; any other layer as it is.

    Reads the curves once. Raises InvalidInput when none is left.
    """
    if layer.layer_type != LAYER:
        return layer
    wrong, n_curves = _wrong(layer)
    if wrong and len(wrong) == n_curves:
        raise InvalidInput(next(iter(wrong.values())), "Correct the curve.", code=CODE)
    if wrong:
        inner = layer.batches
        layer.batches = lambda: _without(layer, inner(), wrong)
    return layer


def _wrong(layer: VectorLayer) -> tuple[dict[str, str], int]:
    """Curve -> what is wrong with it, and how many curves there are."""
    ends: dict[str, _End] = {}
    wrong: dict[str, str] = {}
    for batch in layer.batches():
        for code, level, storage in _rows(batch):
            before = ends.get(code)
            if np.isnan(level) or np.isnan(storage):
                continue
            if before is not None and not (level > before.level and storage >= before.storage):
                said = f"after {before.level:g} m with {before.storage:g} ×10⁴ m³ comes {level:g} m with {storage:g}"
                wrong.setdefault(code, f"The storage curve {code!r} of {layer.name!r} does not rise: {said}.")
            ends[code] = _End(level, storage)
    return wrong, len(ends)


def _rows(batch: FeatureBatch) -> Iterator[tuple[str, float, float]]:
    codes = batch.attributes.column("reservoir_code").to_pylist()
    levels, storages = (_floats(batch.attributes, name) for name in ("level_m", "storage_1e4m3"))
    for code, level, storage in zip(codes, levels.tolist(), storages.tolist(), strict=True):
        yield code or "", level, storage


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table.column(name).to_numpy(), np.float64)


def _without(layer: VectorLayer, batches: Iterator[FeatureBatch], wrong: dict[str, str]) -> Iterator[FeatureBatch]:
    for batch in batches:
        codes = [code or "" for code in batch.attributes.column("reservoir_code").to_pylist()]
        bad = np.array([code in wrong for code in codes], bool)
        for at in np.flatnonzero(bad).tolist():
            content = {
                key: value for key, value in batch.attributes.slice(at, 1).to_pylist()[0].items() if value is not None
            }
            layer.rejects.append(Reject(CODE, f"id {batch.ids[at]}", wrong[codes[at]], content))
        rows = np.flatnonzero(~bad)
        if len(rows):
            yield FeatureBatch(
                [batch.ids[i] for i in rows], batch.geometry[rows], batch.attributes.take(pa.array(rows)),
                [batch.extra[i] for i in rows],
            )  # fmt: skip
    layer.issues += [Issue(CODE, code, sentence, "Correct the curve.", "error") for code, sentence in wrong.items()]
