"""P22 reservoir-storage: what a reservoir holds at a level, how far that is from its characteristic levels.

The storage curve is read between its points in straight lines; outside it there is no answer. Levels and storages by
their Chinese names: 死水位 dead, 防洪限制(汛限)水位 flood limit, 正常蓄水位 normal, 防洪高水位 flood high, 设计洪水位
design, 校核洪水位 check.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput, NotFound
from twin.analysis.place import collected, numbers, words
from twin.analysis.process import Parameter, Process
from twin.analysis.verdict import SAME
from twin.store.interface import Query
from twin.supervision.rules import Rule, on_day

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
LEVELS = ("dead", "flood_limit", "normal", "flood_high", "design", "check")
NAMES: dict[str, Title] = {
    "dead": Title("死水位", "dead level"),
    "flood_limit": Title("汛限水位", "flood-limit level"),
    "normal": Title("正常蓄水位", "normal level"),
    "flood_high": Title("防洪高水位", "flood-high level"),
    "design": Title("设计洪水位", "design flood level"),
    "check": Title("校核洪水位", "check flood level"),
}
ORDER = (
    ("dead", "<", "normal"), ("dead", "<", "flood_limit"), ("flood_limit", "<=", "flood_high"),
    ("flood_high", "<=", "design"), ("design", "<=", "check"), ("normal", "<=", "check"),
)  # fmt: skip
"""What must hold; a flood-limit level above the normal one is only a warning."""
STORAGES_RULE = "reservoir-storages"
"""Rule whose rows say between which levels each characteristic storage lies."""
LOCAL = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Levels:
    """Characteristic levels in metres; None where not known."""

    dead: float | None = None
    flood_limit: float | None = None
    normal: float | None = None
    flood_high: float | None = None
    design: float | None = None
    check: float | None = None

    def known(self) -> dict[str, float]:
        """Those that are known, by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: float(value) for name, value in found.items() if value is not None}


def checked_curve(levels_m: FloatArray, storages: FloatArray, name: str = "curve") -> tuple[FloatArray, FloatArray]:
    """(n,) levels and storages in the order of levels.

    Raises
    ------
    InvalidInput
        Fewer than two points, a number missing or negative, a level twice, or storage that sinks as the level rises;
        the message begins with `name` and tells the level.
    """
    z, v = np.asarray(levels_m, np.float64), np.asarray(storages, np.float64)
    if len(z) != len(v) or len(z) < 2:
        raise InvalidInput(f"{name} has {min(len(z), len(v))} points.", "A curve has two or more.")
    if not (np.isfinite(z).all() and np.isfinite(v).all()):
        bad = int(np.flatnonzero(~(np.isfinite(z) & np.isfinite(v)))[0])
        raise InvalidInput(f"{name}/{bad} lacks its level or its storage.")
    order = np.argsort(z, kind="stable")
    z, v = z[order], v[order]
    if v[0] < 0:
        raise InvalidInput(f"{name} has a negative storage at level {z[0]:g} m.")
    twice = np.flatnonzero(np.diff(z) < SAME)
    if twice.size:
        raise InvalidInput(f"{name} has level {z[twice[0]]:g} m twice.")
    sinks = np.flatnonzero(np.diff(v) < 0)
    if sinks.size:
        at = int(sinks[0])
        words_ = f"{v[at]:g} at {z[at]:g} m, {v[at + 1]:g} at {z[at + 1]:g} m"
        raise InvalidInput(f"{name} is not monotone: storage sinks from {words_}.", "Correct the curve.")
    return z, v


def storage_at(level_m: float, curve: tuple[FloatArray, FloatArray], name: str = "level_m") -> float:
    """Storage at a level, in the curve's unit, between points of the curve in a straight line.

    Raises
    ------
    InvalidInput
        The level is no number or outside the curve (by more than 1e-6 m): it is never extrapolated.
    """
    z, v = curve
    if not np.isfinite(level_m):
        raise InvalidInput(f"{name} is no number.")
    if level_m < z[0] - SAME or level_m > z[-1] + SAME:
        raise InvalidInput(
            f"{name} {level_m:g} m is outside the storage curve, which reaches from {z[0]:g} to {z[-1]:g} m.",
            "The curve is not extrapolated.",
        )
    return float(np.interp(level_m, z, v))


def misordered(levels: Levels) -> list[tuple[str, str, str]]:
    """Pairs that are not in order: lower name, comparator, upper name. Equal on paper is equal."""
    known = levels.known()
    bad = []
    for low, comparator, high in ORDER:
        if low in known and high in known:
            gap = known[high] - known[low]
            if gap < -SAME or (comparator == "<" and gap <= SAME):
                bad.append((low, comparator, high))
    return bad


def limit_above_normal(levels: Levels) -> bool:
    """Whether the flood-limit level lies above the normal one, which is unusual."""
    return levels.flood_limit is not None and levels.normal is not None and levels.flood_limit > levels.normal + SAME


def state_of(level_m: float, levels: Levels, *, is_flood_season: bool = True) -> str:
    """The highest level that is exceeded (`above-check` … `above-flood-limit`), `below-dead`, or `normal`.

    At a level is not above it. Outside the flood season the flood-limit level does not count.
    """
    known = levels.known()
    for name in ("check", "design", "flood_high"):
        if name in known and level_m > known[name] + SAME:
            return f"above-{name.replace('_', '-')}"
    limits = {name: known[name] for name in ("normal", "flood_limit") if name in known}
    if not is_flood_season:
        limits.pop("flood_limit", None)
    over = [name for name, value in sorted(limits.items(), key=lambda each: -each[1]) if level_m > value + SAME]
    if "flood_limit" in over:
        return "above-flood-limit"
    if over:
        return "above-normal"
    return "below-dead" if "dead" in known and level_m < known["dead"] - SAME else "normal"


def state_words(state: str, level_m: float, levels: Levels) -> Title:
    """The state in words, with by how much: 超汛限 +1.20 m."""
    if state == "normal":
        return Title("正常", "within its levels")
    name = state.removeprefix("above-").removeprefix("below-").replace("-", "_")
    gap = level_m - levels.known()[name]
    sign, short = ("超", "above") if gap > 0 else ("低于", "below")
    zh = "汛限" if name == "flood_limit" else NAMES[name].zh
    return Title(f"{sign}{zh} {gap:+.2f} m", f"{short} the {NAMES[name].en} by {abs(gap):.2f} m")


def reservoir_storage(
    city: "City",
    *,
    level_m: float,
    reservoir: str | None = None,
    curve: Sequence[Mapping[str, float]] | None = None,
    levels: Mapping[str, float] | None = None,
    is_flood_season: bool = True,
) -> dict[str, Any]:
    """Storage, margins and state; the reservoir of the city gives what is not given. See `PROCESS`."""
    used, points = Levels(), None
    if reservoir is not None:
        used, points = of_city(city, reservoir, needs_curve=curve is None)
    if curve is not None:
        points = checked_curve(
            np.array([row["level_m"] for row in curve]), np.array([row["storage_1e4m3"] for row in curve])
        )
    if points is None:
        raise InvalidInput("curve is missing.", "Give the curve, or a reservoir of the city that has one.")
    if levels is not None:
        for name, value in levels.items():
            if not np.isfinite(value):
                raise InvalidInput(f"levels/{name} is no number.")
        used = Levels(**(used.known() | dict(levels)))
    bad = misordered(used)
    if bad:
        low, comparator, high = bad[0]
        known = used.known()
        told = f"{low} {known[low]:g} m must be {comparator} {high} {known[high]:g} m"
        raise InvalidInput(f"levels are out of order: {told}.", "Correct the characteristic levels.")
    storages = on_day(dt.datetime.now(LOCAL).date(), city.folder)[STORAGES_RULE]
    return _answer(level_m, points, used, storages, is_flood_season=is_flood_season)


def storages_of(at: Mapping[str, float], rule: Rule) -> dict[str, float]:
    """Characteristic storages by name, from the storage at each level, as the rows of a rule say; known ones only."""
    found = {}
    for row in rule.rows:
        low, high = row.when.get("from_level"), row.when["to_level"]
        if high in at and (low is None or low in at):
            found[str(row.value)] = at[high] - (0.0 if low is None else at[low])
    return found


def _answer(
    level_m: float, curve: tuple[FloatArray, FloatArray], levels: Levels, rule: Rule, *, is_flood_season: bool
) -> dict[str, Any]:
    now, known = storage_at(level_m, curve), levels.known()
    at: dict[str, float] = {}
    warnings: list[str] = []
    for name, value in known.items():
        if curve[0][0] - SAME <= value <= curve[0][-1] + SAME:
            at[name] = storage_at(value, curve)
        else:
            warnings.append(f"{NAMES[name].zh} {value:g} m 在库容曲线之外 / the {NAMES[name].en} is outside the curve")
    if limit_above_normal(levels):
        warnings.append("汛限水位高于正常蓄水位 / the flood-limit level is above the normal level")
    margins = {
        name: {"level_m": value, "margin_m": value - level_m, "storage_1e4m3": at.get(name),
               "margin_1e4m3": at[name] - now if name in at else None}
        for name, value in known.items()
    }  # fmt: skip
    state = state_of(level_m, levels, is_flood_season=is_flood_season)
    said = state_words(state, level_m, levels)
    return {
        "level_m": level_m, "storage_1e4m3": now, "state": state, "state_zh": said.zh, "state_en": said.en,
        "margins": margins, "storages_1e4m3": storages_of(at, rule), "warnings": warnings,
        "is_flood_season": is_flood_season, "curve_from_m": float(curve[0][0]), "curve_to_m": float(curve[0][-1]),
    }  # fmt: skip


def of_city(
    city: "City", reservoir: str, *, needs_curve: bool = True
) -> tuple[Levels, tuple[FloatArray, FloatArray] | None]:
    """Levels and curve of a reservoir by its id. NotFound where there is no such one; None where it has no curve."""
    found = collected(city.store.query("reservoir", Query(ids=(reservoir,)), city.scope), "reservoir")
    if not len(found):
        raise NotFound(f"reservoir: there is no reservoir {reservoir[:60]!r}.", "Ids are those of layer reservoir.")
    levels = levels_of(found, 0)
    code = words(found, "reservoir_code")[0] or reservoir
    if not needs_curve or "reservoir_curve" not in city:
        return levels, None
    rows = collected(
        city.store.query(
            "reservoir_curve",
            Query(filter={"op": "=", "args": [{"property": "reservoir_code"}, code]}, with_geometry=False),
            city.scope,
        ),
        "reservoir_curve",
    )
    if not len(rows):
        return levels, None
    return levels, checked_curve(numbers(rows, "level_m"), numbers(rows, "storage_1e4m3"))


def levels_of(found: Any, row: int) -> Levels:
    """Characteristic levels of a row of layer `reservoir`."""
    values = {name: float(numbers(found, f"{name}_level_m")[row]) for name in LEVELS}
    return Levels(**{name: value for name, value in values.items() if np.isfinite(value)})


_LEVEL = {"type": "number", "minimum": -500, "maximum": 9000, "x-unit": "m"}
_STORAGE = {"type": "number", "minimum": 0, "maximum": 1e8, "x-unit": "1e4 m3"}
PROCESS = Process(
    id="reservoir-storage",
    title=Title("水库库容", "Reservoir storage"),
    description=Title(
        "由库水位查库容（曲线内线性内插，不外推），并给出与各特征水位的差和状态。",
        "What a reservoir holds at a level, straight between the points of its curve and never beyond, with its "
        "margins to the characteristic levels and its state.",
    ),
    inputs={
        "level_m": Parameter(Title("库水位", "Level"), _LEVEL),
        "reservoir": Parameter(
            Title("水库编号", "Reservoir, by its id"), {"type": "string", "minLength": 1}, required=False
        ),
        "curve": Parameter(
            Title("水位库容曲线", "Storage curve; its own when absent"),
            {"type": "array", "minItems": 2, "maxItems": 10_000, "items": {
                "type": "object", "required": ["level_m", "storage_1e4m3"], "additionalProperties": False,
                "properties": {"level_m": _LEVEL, "storage_1e4m3": _STORAGE}}},
            required=False,
        ),
        "levels": Parameter(
            Title("特征水位", "Characteristic levels, over the reservoir's own"),
            {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(LEVELS, _LEVEL)},
            required=False,
        ),
        "is_flood_season": Parameter(
            Title("是否汛期", "Flood-limit level counts"), {"type": "boolean", "default": True}, required=False
        ),
    },
    outputs={
        "level_m": Parameter(Title("库水位", "Level"), _LEVEL),
        "storage_1e4m3": Parameter(Title("库容", "Storage"), _STORAGE),
        "state": Parameter(
            Title("状态", "State"),
            {"type": "string", "enum": ["normal", "below-dead", "above-normal", "above-flood-limit", "above-flood-high",
                                        "above-design", "above-check"]},
        ),
        "state_zh": Parameter(Title("状态说明", "State in Chinese"), {"type": "string"}),
        "state_en": Parameter(Title("状态说明（英文）", "State in English"), {"type": "string"}),
        "margins": Parameter(
            Title("与各特征水位之差", "To each level: metres and storage still to come, negative where it is exceeded"),
            {"type": "object", "additionalProperties": {"type": "object", "properties": {
                "level_m": _LEVEL, "margin_m": {"type": "number", "x-unit": "m"},
                "storage_1e4m3": {"type": ["number", "null"], "x-unit": "1e4 m3"},
                "margin_1e4m3": {"type": ["number", "null"], "x-unit": "1e4 m3"}}}},
        ),
        "storages_1e4m3": Parameter(
            Title("死/兴利/防洪/调洪/重叠库容", "Dead, useful, flood-control, flood-regulation and shared storage"),
            {"type": "object", "additionalProperties": {"type": "number", "x-unit": "1e4 m3"}},
        ),
        "warnings": Parameter(Title("警告", "Warnings"), {"type": "array", "items": {"type": "string"}}),
        "is_flood_season": Parameter(Title("是否汛期", "Whether the flood-limit level counts"), {"type": "boolean"}),
        "curve_from_m": Parameter(Title("曲线最低水位", "Lowest level of the curve"), _LEVEL),
        "curve_to_m": Parameter(Title("曲线最高水位", "Highest level of the curve"), _LEVEL),
    },
    function=reservoir_storage,
    keywords=("reservoir", "storage", "flood limit"),
    is_quick=True,
)  # fmt: skip
