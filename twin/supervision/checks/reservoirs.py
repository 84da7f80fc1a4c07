"""Reservoirs: order of levels, storage curve, present level with storage and margin to the flood-limit level."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.place import numbers, words
from twin.analysis.reservoir_storage import (
    NAMES,
    Levels,
    checked_curve,
    levels_of,
    misordered,
    state_of,
    state_words,
    storage_at,
)  # fmt: skip
from twin.analysis.verdict import SAME
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.present_water import Level, at, levels
from twin.supervision.rules import Rule, softened

LOCAL = dt.timezone(dt.timedelta(hours=8))
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
NO_CURVE = Title("没有水位库容曲线", "There is no storage curve.")
RULES = (
    "reservoir-level-order", "reservoir-limit-above-normal", "reservoir-dam-crest", "reservoir-curve",
    "reservoir-flood-limit", "reservoir-dead-level",
)  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """One reservoir: name and place, characteristic levels, present level, storage curve (or why it has none)."""

    where: tuple[str, ...]
    shape: shapely.Geometry
    own: Levels
    now: Level
    curve: Curve | None
    why: Title | None


def run(context: Context) -> Iterator[Finding | Passed]:
    """Findings on each reservoir that meets the place."""
    found = context.read("reservoir")
    if not len(found):
        return
    max_age = float(context.rules["reservoir-flood-limit"].parameters["max_age_h"])
    present = levels(context, "reservoir", found, "reservoir_code", max_age)
    crests = numbers(found, "dam_crest_elev_m")
    for row, now in enumerate(present):
        one = Looked(
            (f"reservoir/{found.ids[row]}",), found.geometry[row], levels_of(found, row), now,
            *curve_of(context, found, row),
        )  # fmt: skip
        yield from _order(context, one)
        yield _crest(context, one, float(crests[row]))
        yield _curve(context, one)
        yield from _present(context, one)


def _order(context: Context, one: Looked) -> Iterator[Finding]:
    rule, known = context.rules["reservoir-level-order"], one.own.known()
    bad = misordered(one.own)
    for low, comparator, high in bad:
        sign = "低于" if comparator == "<" else "不高于"
        note = Title(
            f"{NAMES[low].zh} {known[low]:g} m 应{sign}{NAMES[high].zh} {known[high]:g} m",
            f"The {NAMES[low].en} {known[low]:g} m must be {comparator} the {NAMES[high].en} {known[high]:g} m.",
        )
        yield finding(
            rule, one.where, known[low], one.shape, limit=known[high], verdict=softened("fail", rule.confidence),
            note=note, part=f"{low}-{high}",
        )  # fmt: skip
    if not bad:
        missing = [NAMES[name] for name in ("dead", "flood_limit", "normal", "check") if name not in known]
        note = Title(
            "缺少" + "、".join(each.zh for each in missing),
            "Not known: " + ", ".join(each.en for each in missing) + ".",
        )
        if missing:
            yield finding(rule, one.where, None, one.shape, verdict="unknown", note=note)
        else:
            yield finding(rule, one.where, None, one.shape, verdict="pass")
    if one.own.flood_limit is not None and one.own.normal is not None:
        limit_rule = context.rules["reservoir-limit-above-normal"]
        yield finding(limit_rule, one.where, one.own.flood_limit, one.shape, limit=one.own.normal)


def _crest(context: Context, one: Looked, crest_m: float) -> Finding:
    limit = None if np.isnan(crest_m) else crest_m
    is_known = limit is not None and one.own.check is not None
    note = None if is_known else Title("缺少坝顶高程或校核洪水位", "Dam crest or check flood level is not known.")
    return finding(
        context.rules["reservoir-dam-crest"], one.where, one.own.check, one.shape, limit=limit,
        verdict=None if is_known else "unknown", note=note,
    )  # fmt: skip


def curve_of(context: Context, found: Features, row: int) -> tuple[Curve | None, Title | None]:
    """Storage curve of a reservoir, or why it cannot be used."""
    code = words(found, "reservoir_code")[row] or found.ids[row]
    rows = _curves(context)
    mine = np.array([each == code for each in words(rows, "reservoir_code")], bool)
    if not mine.any():
        return None, NO_CURVE
    try:
        return checked_curve(numbers(rows, "level_m")[mine], numbers(rows, "storage_1e4m3")[mine]), None
    except InvalidInput as error:
        return None, Title(f"水位库容曲线不能用：{error.problem}", f"The storage curve cannot be used: {error.problem}")


def _curves(context: Context) -> Features:
    """All curves: rows without a place are in no region."""
    whole = Context(context.city, moment=context.moment, now=context.now)
    return whole.read("reservoir_curve")


def _curve(context: Context, one: Looked) -> Finding:
    rule, curve = context.rules["reservoir-curve"], one.curve
    if curve is None:
        is_missing = one.why is NO_CURVE
        return finding(rule, one.where, None, one.shape, verdict="unknown" if is_missing else "fail", note=one.why)
    out = {NAMES[name].zh: value for name, value in one.own.known().items() if not covers(curve, value)}
    if one.now.level_m is not None and not covers(curve, one.now.level_m):
        out["现水位"] = one.now.level_m
    if not out:
        return finding(rule, one.where, None, one.shape, verdict="pass")
    told = "、".join(f"{name} {value:g} m" for name, value in out.items())
    span = f"{curve[0][0]:g}-{curve[0][-1]:g} m"
    note = Title(f"{told} 在曲线（{span}）之外", f"Outside the curve ({span}): {told}.")
    return finding(rule, one.where, None, one.shape, verdict="review", note=note)


def covers(curve: Curve, level_m: float) -> bool:
    """Whether a level is on the curve."""
    return bool(curve[0][0] - SAME <= level_m <= curve[0][-1] + SAME)


def _present(context: Context, one: Looked) -> Iterator[Finding]:
    """The present level: in the flood season against the flood-limit level, else against the normal level."""
    rule, level = context.rules["reservoir-flood-limit"], one.now.level_m
    is_season = in_season(rule, at(context).astimezone(LOCAL).date())
    limit = one.own.flood_limit if is_season else one.own.normal
    note = one.now.why
    if note is None and limit is None:
        note = Title("缺少限制水位", "The level that limits it is not known.")
    elif level is not None:
        note = _words(one.own, level, one.curve, is_season=is_season)
    is_known = limit is not None and level is not None
    evidence = f"/collections/reservoir/items/{one.where[0].partition('/')[2]}"
    yield finding(
        rule, one.where, level, one.shape, limit=limit, verdict=None if is_known else "unknown", note=note,
        time=one.now.time, evidence=evidence,
    )  # fmt: skip
    if one.own.dead is not None and level is not None:
        yield finding(
            context.rules["reservoir-dead-level"], one.where, level, one.shape, limit=one.own.dead, time=one.now.time,
            evidence=evidence,
        )  # fmt: skip


def _words(own: Levels, level_m: float, curve: Curve | None, *, is_season: bool) -> Title:
    """State, storage and what is left of it up to the flood-limit level."""
    state = state_words(state_of(level_m, own, is_flood_season=is_season), level_m, own)
    zh, en = state.zh, state.en
    if curve is not None and covers(curve, level_m):
        now = storage_at(level_m, curve)
        zh, en = f"{zh}；库容 {now:.1f} 万m³", f"{en}; storage {now:.1f} x 10^4 m3"
        if own.flood_limit is not None and covers(curve, own.flood_limit):
            left = storage_at(own.flood_limit, curve) - now
            zh = f"{zh}，距汛限 {own.flood_limit - level_m:+.2f} m、{left:+.1f} 万m³"
            en = f"{en}, to the flood limit {own.flood_limit - level_m:+.2f} m and {left:+.1f} x 10^4 m3"
    return Title(zh, en)


def in_season(rule: Rule, day: dt.date) -> bool:
    """Whether a day lies in the flood season that the rule names, first and last day among it."""
    first, last = str(rule.parameters["season_from"]), str(rule.parameters["season_to"])
    now = f"{day:%m-%d}"
    return first <= now <= last if first <= last else now >= first or now <= last


CHECKS = (
    Check(
        id="reservoir-levels",
        supervision="water",
        title=Title("水库水位与库容", "Reservoir levels and storage"),
        rules=RULES,
        needs=("reservoir",),
        run=run,
    ),
)
