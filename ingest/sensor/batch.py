"""Observations with their flags -> batches of features, rejects for repeats, and findings with counts and examples."""

from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from ingest import place
from ingest.sensor.columns import Plan
from ingest.sensor.quality import BITS
from ingest.sensor.rows import Melter, Observed, extra, joined, whole
from ingest.sensor.values import numbers
from ingest.table.sheet import Sheet
from layers import catalogue, observations
from layers.issue import Issue, Reject
from layers.source import FeatureBatch, Hints

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
N_EXAMPLES = 5
_SECOND_US = 1_000_000


class Maker:
    """Makes the batches of one layer and counts the flags it gives away."""

    def __init__(self, plan: Plan, melter: Melter, hints: Hints, sheet: Sheet, layer_type: str) -> None:
        self._plan, self._melter, self._hints, self._sheet = plan, melter, hints, sheet
        self._type = catalogue.layer_type(layer_type)
        self._counts = dict.fromkeys(BITS, 0)
        self._examples: dict[str, list[str]] = {name: [] for name in BITS}
        self._n_days = self._n_rows = 0

    def batch(
        self, seen: Observed, flags: Ints, repeats: Bools, follows: Bools, where: Callable[[int], str]
    ) -> tuple[FeatureBatch, list[Reject]]:
        """Features of the observations that do not repeat earlier ones, and rejects of the others."""
        ids = self._ids(seen, follows)
        points, lost = self._points(seen, flags)
        bad = repeats | lost
        lines = np.flatnonzero(bad).tolist()
        rejects = [self._reject(seen, ids[at], at, where, again=bool(repeats[at])) for at in lines]
        kept = np.flatnonzero(~bad)
        if len(kept) < len(ids):
            ids = ids.take(pa.array(kept))
        names = ids.to_pylist()
        quality = self._quality(seen, flags, kept)
        self._count(flags[kept], names, seen)
        geometry = np.full(len(kept), None, object) if points is None else points[seen.row[kept]]
        written = extra(seen, self._plan, kept)
        if points is not None:
            self._keep_positions(seen, kept, points, written)
        return FeatureBatch(names, geometry, self._attributes(seen, kept, quality), written), rejects

    def _ids(self, seen: Observed, follows: Bools) -> pa.Array:
        melter = self._melter
        prefixes = [f"{melter.devices.words[d]}/{melter.quantities.words[q]}@" for d, q in melter.series]
        times = self._time_words(seen).take(pa.array(seen.row))
        ids = pc.binary_join_element_wise(pa.array(prefixes, pa.string()).take(pa.array(seen.series)), times, "")
        if not follows.any():
            return ids
        made = ids.to_pylist()
        for at in np.flatnonzero(follows).tolist():
            made[at] += "~null" if np.isnan(seen.value[at]) else f"~{seen.value[at]:.15g}"
        return pa.array(made, pa.string())

    def _time_words(self, seen: Observed) -> pa.Array:
        """Of each row: ISO 8601 with Z, without where the zone is unknown; the file's text where it is no time."""
        times = seen.times
        readable = times.readable
        us = np.where(readable, times.us, 0)
        if (us % _SECOND_US == 0).all():
            words = pc.cast(pa.array(us // _SECOND_US, pa.int64()).cast(pa.timestamp("s")), pa.string())
        else:
            words = pc.cast(pa.array(us, pa.int64()).cast(pa.timestamp("us")), pa.string())
            words = _trimmed(words)
        words = pc.replace_substring(words, " ", "T")
        words = pc.if_else(pa.array(times.zoned), pc.binary_join_element_wise(words, "Z", ""), words)
        if readable.all():
            return words
        texts = pc.utf8_trim_whitespace(self._melter.time_text(seen.table))
        before = self._melter.n_rows - seen.table.num_rows
        own = pa.array([f"?{before + row + 1}" for row in range(seen.table.num_rows)], pa.string())
        return pc.if_else(pa.array(readable), words, pc.if_else(pc.equal(texts, ""), own, texts))

    def _points(self, seen: Observed, flags: Ints) -> tuple[NDArray[np.object_] | None, Bools]:
        """Point or None for each row; observations whose coordinates are text are lost. Marks `no-position`."""
        nothing = np.zeros(len(seen), bool)
        if self._plan.x is None or self._plan.y is None:
            return None, nothing
        x, y = (numbers(whole(seen.table, axis)) for axis in (self._plan.x, self._plan.y))
        has = np.isfinite(x.values) & np.isfinite(y.values) & ((x.values != 0) | (y.values != 0))
        points = np.full(seen.table.num_rows, None, object)
        points[has] = shapely.points(x.values[has], y.values[has])
        lost = x.unreadable | y.unreadable
        flags[(~has & ~lost)[seen.row]] |= BITS["no-position"]
        return points, lost[seen.row]

    def _keep_positions(
        self, seen: Observed, kept: Ints, points: NDArray[np.object_], written: list[str | None]
    ) -> None:
        """What stands in the place of a missing position stays in `extra`."""
        row = seen.row[kept]
        without = np.asarray(shapely.is_missing(points))
        for at in np.flatnonzero(without[row]).tolist():
            said = {
                axis: value
                for axis in (self._plan.x, self._plan.y)
                if axis is not None and (value := seen.table.column(axis)[int(row[at])].as_py()) not in {None, ""}
            }
            if said:
                text, before = orjson.dumps(said, default=str).decode(), written[at]
                written[at] = text if before is None else f"{before[:-1]},{text[1:]}"

    def _quality(self, seen: Observed, flags: Ints, kept: Ints) -> pa.Array:
        masks, at = np.unique(flags[kept], return_inverse=True)
        words = [",".join(name for name, bit in BITS.items() if mask & int(bit)) or None for mask in masks.tolist()]
        made = pa.array(words, pa.string()).take(pa.array(at))
        if self._plan.quality is None:
            return made
        said = pc.cast(whole(seen.table, self._plan.quality), pa.string())
        said = pc.if_else(pc.equal(said, ""), None, said).take(pa.array(seen.row[kept]))
        return joined([said, made])

    def _attributes(self, seen: Observed, kept: Ints, quality: pa.Array) -> pa.Table:
        melter, row = self._melter, pa.array(seen.row[kept])
        pairs = np.array(melter.series, np.int64).reshape(-1, 2)[seen.series[kept]]
        zoned = seen.times.zoned
        time = pa.array(np.where(zoned, seen.times.us, 0), pa.int64(), mask=~zoned).cast(pa.timestamp("us", tz="UTC"))
        value, unit = seen.value[kept], seen.unit[kept]
        columns = {
            "device_id": pa.array(melter.devices.words, pa.string()).take(pa.array(pairs[:, 0])),
            "time": time.take(row),
            "quantity": pa.array(melter.quantities.words, pa.string()).take(pa.array(pairs[:, 1])),
            "value": pa.array(value, mask=np.isnan(value)),
            "unit": pa.array([*melter.units.words, None], pa.string()).take(
                pa.array(np.where(unit < 0, len(melter.units.words), unit))
            ),
            "quality": quality,
        }
        fixed = {
            "cim_category": self._type.category, "cim_level": self._type.level[0], "source": self._sheet.source,
            "access": self._type.access,
        } | {key: value for key, value in self._hints.values.items() if key not in columns}  # fmt: skip
        arrays = []
        for each in self._type.attributes:
            if each.name in columns:
                arrays.append(columns[each.name])
            elif each.name in fixed:
                arrays.append(pa.repeat(pa.scalar(fixed[each.name]).cast(each.arrow_type), len(kept)))
            else:
                arrays.append(pa.nulls(len(kept), each.arrow_type))
        return pa.Table.from_arrays(arrays, schema=self._type.arrow_schema())

    def _reject(self, seen: Observed, name: pa.Scalar, at: int, where: Callable[[int], str], *, again: bool) -> Reject:
        row = int(seen.row[at])
        cells = seen.table.slice(row, 1).to_pylist()[0]
        content = {key: value for key, value in cells.items() if value not in {None, ""}}
        said_at = f"{where(row)}, id {name.as_py()}"
        if again:
            sentence = "The same observation, of the same time and value, came before."
            return Reject("DUPLICATE_FEATURE", said_at, sentence, content)
        said = f"{cells[self._plan.x or '']!r}, {cells[self._plan.y or '']!r}"
        return Reject("COORDINATE_NOT_FINITE", said_at, f"{said} are no coordinates.", content)

    def _count(self, flags: Ints, names: list[str], seen: Observed) -> None:
        self._n_days += int((seen.times.days & seen.times.readable).sum())
        self._n_rows += seen.table.num_rows
        if not flags.any():
            return
        for name, bit in BITS.items():
            at = np.flatnonzero(flags & bit)
            self._counts[name] += len(at)
            wanted = N_EXAMPLES - len(self._examples[name])
            self._examples[name] += [names[i] for i in at[: max(0, wanted)].tolist()]

    def issues(self) -> list[Issue]:
        """One finding for each flag that was given, with its count and the first ids."""
        made = []
        for flag in observations.flags():
            if n := self._counts[flag.id]:
                message = f"{n} observations {flag.says}: {', '.join(self._examples[flag.id])}{' …' if n > 5 else ''}."
                hint = flag.hint
                if flag.id == "time-unknown":
                    lines = place.toml_lines(self._sheet.source)
                    hint = f'Declare it in city.toml, with the true zone:\n{lines}\nunits = {{ time = "+08:00" }}'
                made.append(Issue(flag.code, self._sheet.place, message, hint, flag.severity))
        if self._n_days and self._n_days == self._n_rows:
            message = "The times are days without time of day; each stands for its first moment."
            made.append(Issue("TIME_IS_DATE", self._sheet.place, message, "", "info"))
        return made


def _trimmed(words: pa.Array) -> pa.Array:
    """`08:00:00.500000` -> `08:00:00.5`, `08:00:00.000000` -> `08:00:00`."""
    return pc.replace_substring_regex(words, r"\.?0{1,6}$", "")
