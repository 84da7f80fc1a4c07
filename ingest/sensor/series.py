"""Series of observations in tables -> layer `sensor_obs`, or `sensor_obs_point` where each row has a position.

One feature an observation, with the id `device/quantity@time` in UTC, so that the same observation has the same id in
every file that holds it. Nothing is corrected: doubts are flags in `quality` (see `layers.observations`). The file is
read twice: once to learn what is usual, once to give the observations away (three times where its times go back).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest import detect, place
from ingest.columns import fold
from ingest.sensor import columns as sensor_columns
from ingest.sensor import quality as sensor_quality
from ingest.sensor.batch import Maker
from ingest.sensor.columns import LAYERS, SAMPLE_ROWS, Plan
from ingest.sensor.quality import Learned, Marker
from ingest.sensor.rows import Melter, Observed, whole
from ingest.sensor.values import numbers
from ingest.stream import BATCH_ROWS
from ingest.table.points import Columns
from ingest.table.sheet import Sheet, slices
from layers.certificate import Certificate
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue, Reject
from layers.source import FeatureBatch, Hints, VectorLayer


@dataclass(frozen=True)
class Piece:
    """Some rows of a table: their columns, their places in words, and rows that are wrong as rows."""

    table: pa.Table
    where: Callable[[int], str]
    rejects: list[Reject] = field(default_factory=list)


def found(sheet: Sheet, geometry: Columns | None, hints: Hints) -> Plan | None:
    """The columns of a series, or None for any other table. `geometry`: its coordinate columns.

    A table is a series when it is said to be one, when its name or columns speak for `sensor_obs`, when they speak for
    a register of devices each of which comes many times, or when they speak for nothing and look like a series.
    """
    if hints.join or (hints.layer is not None and hints.layer not in LAYERS) or (geometry and geometry.wkt):
        return None
    x, y = (geometry.x, geometry.y) if geometry else (None, None)
    first = next(slices(sheet, SAMPLE_ROWS), None)
    plan = sensor_columns.plan(first.table, hints, x, y) if first is not None else None
    if first is None or plan is None or hints.layer is not None:
        return plan
    kind = "none" if x is None else "Point"
    taken = detect.detect(sheet.source, sheet.name, sheet.schema, kind, hints, is_only=sheet.table is None)
    if taken.is_own:
        return plan if sensor_columns.looks_like_series(plan, first.table) else None
    is_register = taken.layer_type.category == "iot" and sensor_columns.repeats_device(plan, first.table)
    return plan if taken.layer_type.id in LAYERS or is_register else None


def layer(sheet: Sheet, plan: Plan, hints: Hints) -> VectorLayer:
    """The layer of a series; reads the table once or twice.

    Raises CrsMissing for positions without CRS, InvalidInput when they cannot be true.
    """
    if plan.x is not None and hints.crs is None and not hints.control_points:
        raise place.missing(sheet.source, f" (its positions are in {plan.x} and {plan.y})", sheet.table or "")
    series = _Series(sheet, plan, hints)
    bounds = series.learn()
    certificate: Certificate | None = None
    issues = series.opening()
    if series.plan.x is not None:
        certificate, placed = place.certificate(None, hints, sheet.source, bounds, table=sheet.table or "")
        issues += placed
    layer_type = "sensor_obs" if certificate is None else "sensor_obs_point"
    made = VectorLayer(
        name=sheet.name,
        layer_type=layer_type,
        crs=certificate.source_crs if certificate else None,
        batches=lambda: iter(()),
        geometry_type="none" if certificate is None else "Point",
        issues=list(issues),
        certificate=certificate,
    )
    made.batches = lambda: series.batches(made, issues)
    return made


class _Series:
    def __init__(self, sheet: Sheet, plan: Plan, hints: Hints) -> None:
        self.sheet, self.plan, self.hints = sheet, plan, hints
        self.melter = Melter(plan, hints, sheet.name)
        self.learned = Learned()
        self._is_quick = sheet.quick is not None

    def learn(self) -> Bounds | None:
        """Read the table for what must be known beforehand; the bounds of its positions."""
        try:
            return self._learn()
        except pa.ArrowInvalid:
            if not self._is_quick:
                raise
            self._is_quick = False
            self.melter = Melter(self.plan, self.hints, self.sheet.name)
            return self._learn()

    def _learn(self) -> Bounds | None:
        bounds = _Bounds(self.plan)
        told = _stuck(self.hints)
        self.learned = sensor_quality.learn(self._observed(bounds.add), self.melter, told)
        if self.learned.goes_back:
            sensor_quality.find_repeats(self._observed(), self.learned)
        return bounds.found

    def _observed(self, look: Callable[[pa.Table], None] | None = None) -> Iterator[Observed]:
        self.melter.n_rows = 0
        for piece in self._pieces():
            if look is not None:
                look(piece.table)
            yield self.melter.observed(piece.table)

    def batches(self, layer: VectorLayer, issues: list[Issue]) -> Iterator[FeatureBatch]:
        """Read the table and give its observations away; counts begin at zero each time."""
        layer.n_read, layer.rejects, layer.issues = 0, [], list(issues)
        self.melter.n_rows = 0
        marker = Marker(self.melter, self.learned)
        maker = Maker(self.plan, self.melter, self.hints, self.sheet, layer.layer_type)
        for piece in self._pieces():
            seen = self.melter.observed(piece.table)
            layer.n_read += len(seen) + len(piece.rejects)
            layer.rejects += piece.rejects
            flags, repeats, follows = marker.marked(seen)
            batch, rejects = maker.batch(seen, flags, repeats, follows, piece.where)
            layer.rejects += rejects
            if len(batch):
                yield batch
        layer.issues += [*maker.issues(), *marker.issues()]

    def _pieces(self) -> Iterator[Piece]:
        """The table in pieces of about BATCH_ROWS observations, without rows that are wrong as rows."""
        sheet, k = self.sheet, len(self.plan.values)
        n_rows = max(1, BATCH_ROWS // k)
        if self._is_quick and sheet.quick is not None:
            at = 0
            for table in sheet.quick(n_rows):
                self._check_plain(table)
                yield Piece(table, _Where(f"{sheet.place}, row ", range(at + 1, at + 1 + table.num_rows)))
                at += table.num_rows
            return
        for part in slices(sheet, n_rows):
            where = _Where(f"{sheet.place}, {sheet.word} ", part.numbers)
            rejects = [
                Reject(code, where(row), sentence, _content(part.table, row))
                for row, (code, sentence) in part.bad.items()
                for _ in range(k)
            ]
            good = [row for row in range(part.table.num_rows) if row not in part.bad]
            if rejects:
                where = _Where(f"{sheet.place}, {sheet.word} ", [part.numbers[row] for row in good])
            yield Piece(part.table.take(pa.array(good, pa.int64())) if rejects else part.table, where, rejects)

    def _check_plain(self, table: pa.Table) -> None:
        """Lines without a time may be blank lines, which only the careful reader passes over."""
        texts = self.melter.time_text(table)
        if pc.any(pc.equal(pc.utf8_trim_whitespace(texts), "")).as_py():
            raise pa.ArrowInvalid("a line without a time")

    def opening(self) -> list[Issue]:
        """What was decided for the user, and hints that fit nothing."""
        sheet, plan, issues = self.sheet, self.plan, list[Issue]()
        if self.melter.n_rows == 0:
            raise InvalidInput(f"{sheet.place} has a header but no rows.", "Export it again.", code="TABLE_EMPTY")
        lines = place.toml_lines(sheet.source, layer="sensor_obs")
        for name, column in self.hints.columns.items():
            if column not in sheet.header:
                hint = f"The columns are {', '.join(sheet.header)}."
                issues.append(
                    Issue("HINT_UNKNOWN_COLUMN", f"city.toml columns.{name}", f"There is no column {column!r}.", hint)
                )
        if plan.device is None and "device_id" not in self.hints.values:
            message = f"No column names the device; the file's name stands for it: {sheet.name!r}."
            hint = f'If it has another name, write into city.toml:\n{lines}\nvalues = {{ device_id = "…" }}'
            issues.append(Issue("DEVICE_FROM_FILE", sheet.place, message, hint, "info"))
        if plan.quantity is None and [fold(each.quantity) for each in plan.values] == ["value"]:
            hint = f'Write into city.toml:\n{lines}\nvalues = {{ quantity = "…", unit = "…" }}'
            message = "Nothing says what is measured; the quantity is called 'value'."
            issues.append(Issue("QUANTITY_UNKNOWN", sheet.place, message, hint, "warning"))
        if plan.empty:
            message = f"No value in the first rows, so no quantity: {', '.join(plan.empty)}; kept in `extra`."
            issues.append(Issue("SERIES_COLUMN_EMPTY", sheet.place, message, "", "info"))
        return issues


@dataclass(frozen=True)
class _Where:
    prefix: str
    numbers: "range | list[int]"

    def __call__(self, row: int) -> str:
        return f"{self.prefix}{self.numbers[row]}"


class _Bounds:
    """Of all positions that are numbers and not 0, 0."""

    def __init__(self, plan: Plan) -> None:
        self._axes = (plan.x, plan.y)
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def add(self, table: pa.Table) -> None:
        x, y = self._axes
        if x is None or y is None:
            return
        xy = np.column_stack([numbers(whole(table, axis)).values for axis in (x, y)])
        xy = xy[np.isfinite(xy).all(axis=1) & (xy != 0).any(axis=1)]
        if len(xy):
            self._low, self._high = np.minimum(self._low, xy.min(axis=0)), np.maximum(self._high, xy.max(axis=0))

    @property
    def found(self) -> Bounds | None:
        if not np.isfinite(self._low).all():
            return None
        return float(self._low[0]), float(self._low[1]), float(self._high[0]), float(self._high[1])


def _stuck(hints: Hints) -> int | None:
    told = hints.values.get("stuck")
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int) or told < 2:
        problem = f"values.stuck is {told!r}; it must be a whole number of equal values, 2 or more."
        raise InvalidInput(problem, "Correct city.toml.", code="CITY_TOML_WRONG")
    return told


def _content(table: pa.Table, row: int) -> dict[str, object]:
    return {key: value for key, value in table.slice(row, 1).to_pylist()[0].items() if value is not None}
