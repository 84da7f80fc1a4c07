"""Basins: rain of the last hours, its class and warning signal, what runs off against what a reservoir can take."""

from collections.abc import Iterator

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis.areal_rainfall import CLASS_RULES, class_of, class_words, tenths
from twin.analysis.areal_rainfall_weights import thiessen
from twin.analysis.place import numbers
from twin.analysis.reservoir_storage import levels_of, storage_at
from twin.analysis.runoff_peak import scs_runoff_mm
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, finding
from twin.supervision.checks.reservoirs import covers, curve_of
from twin.supervision.present_water import Level, Rain, levels, rain
from twin.supervision.rules import Rule

REACH_M = 30_000.0
"""Stations so far from the place count."""
STORMS = {24: "rainstorm-24h", 12: "rainstorm-12h"}


def run(context: Context) -> Iterator[Finding]:
    """Findings on each basin that meets the place."""
    found = context.read("basin")
    if not len(found):
        return
    signals = context.rules["rain-warning-signal"]
    hours = {int(row.when["hours"]) for row in signals.rows} | set(STORMS)
    hours.add(int(context.rules["basin-runoff-storage"].parameters["duration_h"]))
    told = rain(context, sorted(hours), REACH_M)
    for row, shape in enumerate(found.geometry):
        means = {each: _mean(told, each, shape) for each in hours}
        yield from _storms(context, found, row, means, told)
        yield _signal(signals, found, row, means)
        yield _area(context, found, row)
        yield from _runoff(context, found, row, means)


def _mean(told: Rain, hours: int, basin: shapely.Geometry) -> float | Title:
    """Areal rain in tenths of a millimetre; the reason where it cannot be told."""
    known = ~np.isnan(told.totals[hours]) if told.devices else np.empty(0, bool)
    if not known.any():
        return Title(
            f"没有雨量站具备近 {hours} 小时的完整观测", f"No station has complete observations of the last {hours} h."
        )
    names = [name for name, is_known in zip(told.devices, known, strict=True) if is_known]
    try:
        weights, _ = thiessen(told.points[known], basin, names)
    except InvalidInput as error:
        return Title(f"面雨量无法计算：{error.problem}", error.problem)
    return tenths(float(weights @ told.totals[hours][known]))


def _storms(
    context: Context, found: Features, row: int, means: dict[int, float | Title], told: Rain
) -> Iterator[Finding]:
    where = (f"basin/{found.ids[row]}",)
    for hours, rule_id in STORMS.items():
        rule, mean = context.rules[rule_id], means[hours]
        if isinstance(mean, Title):
            yield finding(rule, where, None, found.geometry[row], note=mean)
            continue
        classes = context.rules[CLASS_RULES[hours]]
        name = class_of(mean, classes)
        said = Title("", "") if name is None else class_words(name, classes)
        left = [each for each, total in zip(told.devices, told.totals[hours], strict=True) if np.isnan(total)]
        zh, en = f"{said.zh}，{mean:.1f} mm", f"{said.en}, {mean:.1f} mm"
        if left:
            zh, en = f"{zh}；缺测未计：{'、'.join(left)}", f"{en}; left out for missing values: {', '.join(left)}"
        yield finding(rule, where, mean, found.geometry[row], note=Title(zh, en))


def _signal(rule: Rule, found: Features, row: int, means: dict[int, float | Title]) -> Finding:
    """The highest signal whose amount is reached; unknown where one of those above it cannot be told."""
    where, shape = (f"basin/{found.ids[row]}",), found.geometry[row]
    why: Title | None = None
    for line in rule.rows:
        hours, mean = int(line.when["hours"]), means[int(line.when["hours"])]
        if isinstance(mean, Title):
            why = why or mean
        elif rule.judged(mean, float(line.value), line.confidence) != "pass":
            said = rule.parameters["signals"][line.when["signal"]]
            note = Title(f"{said['zh']}：{hours} 小时 {mean:.1f} mm", f"{said['en']}: {mean:.1f} mm in {hours} h")
            return finding(rule, where, mean, shape, limit=float(line.value), note=note)
    last = rule.rows[-1]
    longest = means[int(last.when["hours"])]
    if why is not None or isinstance(longest, Title):
        return finding(rule, where, None, shape, verdict="unknown", note=why)
    return finding(rule, where, longest, shape, limit=float(last.value))


def _area(context: Context, found: Features, row: int) -> Finding:
    rule, recorded = context.rules["basin-area"], float(numbers(found, "area_m2")[row])
    drawn = float(areas_m2(found.geometry[row : row + 1], context.city.crs)[0])
    note = Title(f"图形面积（椭球）{drawn:.1f} m²", f"Drawn area on the ellipsoid {drawn:.1f} m2.")
    share = None if np.isnan(recorded) or drawn == 0 else abs(recorded - drawn) / drawn * 100
    if share is None:
        note = Title("没有登记面积", "There is no recorded area.")
    return finding(rule, (f"basin/{found.ids[row]}",), share, found.geometry[row], note=note)


def _runoff(context: Context, found: Features, row: int, means: dict[int, float | Title]) -> Iterator[Finding]:
    """For each reservoir in the basin: runoff of the rain against storage left up to the flood-high level."""
    if not context.has("reservoir"):
        return
    rule = context.rules["basin-runoff-storage"]
    reservoirs = Context(context.city, found.geometry[row], moment=context.moment, now=context.now).read("reservoir")
    if not len(reservoirs):
        return
    max_age = float(context.rules["reservoir-flood-limit"].parameters["max_age_h"])
    present = levels(context, "reservoir", reservoirs, "reservoir_code", max_age)
    area = float(areas_m2(found.geometry[row : row + 1], context.city.crs)[0])
    for k, now in enumerate(present):
        where = (f"basin/{found.ids[row]}", f"reservoir/{reservoirs.ids[k]}")
        try:
            runoff, left = _balance(context, reservoirs, k, now, rule, area, means)
            yield finding(rule, where, runoff, found.geometry[row], limit=left)
        except _Unknown as why:
            yield finding(rule, where, None, found.geometry[row], verdict="unknown", note=why.note)


class _Unknown(Exception):
    """Why a balance cannot be told."""

    def __init__(self, note: Title) -> None:
        super().__init__(note.en)
        self.note = note


def _balance(  # noqa: PLR0917
    context: Context, reservoirs: Features, k: int, now: Level, rule: Rule, area_m2: float,
    means: dict[int, float | Title],
) -> tuple[float, float]:  # fmt: skip
    """Runoff of the basin and storage left up to the flood-high level, both in 10^4 m3."""
    number = rule.parameters.get("curve_number")
    if number is None:
        raise _Unknown(Title("规则没有给出 curve_number", "The rule gives no curve_number."))
    mean = means[int(rule.parameters["duration_h"])]
    if isinstance(mean, Title):
        raise _Unknown(mean)
    if now.level_m is None:
        raise _Unknown(now.why or Title("水位未知", "The level is not known."))
    curve, why = curve_of(context, reservoirs, k)
    if curve is None:
        raise _Unknown(why or Title("没有曲线", "There is no curve."))
    top = levels_of(reservoirs, k).flood_high
    if top is None:
        raise _Unknown(Title("没有防洪高水位", "The flood-high level is not known."))
    if not (covers(curve, top) and covers(curve, now.level_m)):
        raise _Unknown(Title("水位在曲线之外", "A level is outside the curve."))
    runoff = scs_runoff_mm(float(number), mean) / 1000 * area_m2 / 1e4
    return runoff, storage_at(top, curve) - storage_at(now.level_m, curve)


CHECKS = (
    Check(
        id="basin-rain",
        supervision="water",
        title=Title("流域面雨量与产流", "Rain and runoff of basins"),
        rules=(*STORMS.values(), "rain-warning-signal", "basin-area", "basin-runoff-storage"),
        needs=("basin",),
        run=run,
    ),
)
