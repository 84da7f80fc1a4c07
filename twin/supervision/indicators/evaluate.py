"""From what is counted to values, states and verdicts: for the city, each zone, and what is counted apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from layers.catalogue import Title
from twin.analysis.verdict import SAME, Verdict, verdict
from twin.supervision.indicators import area, holdings, near, shares
from twin.supervision.indicators.admin import Zones
from twin.supervision.indicators.amounts import Amounts, Items
from twin.supervision.indicators.definition import Indicator
from twin.supervision.indicators.source import NoData, Source
from twin.supervision.rules import softened

State = Literal["ok", "warn", "fail", "review", "unknown", "no-target"]

MEASURES: dict[str, Callable[[Source, Zones, Mapping[str, Any]], Amounts]] = {
    "share-of-count": shares.share_of_count,
    "share-of-length": shares.share_of_length,
    "share-of-area": area.share_of_area,
    "share-near": near.share_near,
    "share-reached": near.share_reached,
    "spacing": near.spacing,
    "ratio": area.ratio,
    "amount": area.amount,
    "share-of-categories": holdings.share_of_categories,
    "share-of-datasets": holdings.share_of_datasets,
    "departments-on-one-grid": holdings.departments_on_one_grid,
}
_SAME_AREA_PCT = 1e-3
"""Areas on the ellipsoid make a share that is 90 % on paper differ in its fifth digit."""
_PCT = 100.0


@dataclass(frozen=True)
class Row:
    """A value of the city, of a zone, or of what is counted apart.

    Attributes
    ----------
    code, name : of the zone; `kind` is `city`, `zone`, `rest` (of the city, in no zone), `outside`, `unlocated`
    value : in the indicator's unit; None where it cannot be told, 0 / 0 among it
    numerator, denominator : what it is the quotient of; they add up over zones and rest to the city's
    n, n_unknown : things counted, and those left out because it is not known on which side they are
    low, high : between which the value lies whatever those are; None where that is not bounded or nothing is unknown
    """

    code: str
    name: str
    kind: Literal["city", "zone", "rest", "outside", "unlocated"]
    value: float | None
    state: State
    verdict: Verdict
    numerator: float | None = None
    denominator: float | None = None
    n: int = 0
    n_unknown: int = 0
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "xzqdm": self.code, "name": self.name, "kind": self.kind, "value": self.value, "state": self.state,
            "verdict": self.verdict, "numerator": self.numerator, "denominator": self.denominator, "n": self.n,
            "n_unknown": self.n_unknown, "low": self.low, "high": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class Value:
    """An indicator, told.

    Attributes
    ----------
    city, zones, apart : the rows
    missing : what is not there (Chinese, English), where it cannot be told for that
    items : single things that count against it, or are not known
    facts : what was done: distance model, the other metrics, what is missing
    parts : of a weighted mean: title, weight and the rows of each
    """

    indicator: Indicator
    city: Row
    zones: list[Row]
    apart: list[Row]
    missing: tuple[str, str] | None = None
    items: list[Items] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    parts: list[tuple[str, float, "Value"]] = field(default_factory=list)

    @property
    def why_unknown(self) -> Title | None:
        """Why the city has no value; None where it has one."""
        if self.city.value is not None:
            return None
        if self.missing is not None:
            return Title(*self.missing)
        if self.city.n_unknown:
            n = self.city.n_unknown
            return Title(f"{n} 个对象均缺少判定所需属性。", f"All {n} lack what would tell on which side they are.")
        return Title("没有可计算的对象（0/0）。", "There is nothing that it could be of (0/0).")


def evaluate(indicator: Indicator, source: Source, zones: Zones) -> Value:
    """One indicator for all zones at once. InvalidInput where its definition does not fit the layers."""
    try:
        if indicator.measure["kind"] == "weighted-mean":
            return _weighted(indicator, source, zones)
        amounts = MEASURES[str(indicator.measure["kind"])](source, zones, indicator.measure)
    except NoData as gap:
        return _untold(indicator, zones, (gap.zh, gap.en))
    return _told(indicator, zones, amounts)


def judged(indicator: Indicator, row: Row) -> tuple[State, Verdict]:
    """State and verdict of a value by the indicator's target; `review` where what is unknown could turn it round."""
    if indicator.target is None:
        return ("unknown" if row.value is None else "no-target"), "unknown"
    same = _SAME_AREA_PCT if indicator.measure["kind"] == "share-of-area" else SAME
    found = verdict(row.value, indicator.comparator, indicator.target, same)
    if row.value is None or found == "unknown":
        return "unknown", "unknown"
    ends = {verdict(each, indicator.comparator, indicator.target, same) for each in _ends(row)}
    found = softened(found, indicator.confidence)
    if ends == {"pass", "fail"}:
        found = "review"
    if found == "pass":
        return ("warn" if _warns(indicator, row.value) else "ok"), "pass"
    return ("fail" if found == "fail" else "review"), found


def _ends(row: Row) -> list[float]:
    """What the value could be; itself where nothing is unknown."""
    return [row.value or 0.0] if row.low is None or row.high is None else [row.low, row.high]


def _warns(indicator: Indicator, value: float) -> bool:
    ratio, target = indicator.warn_ratio, indicator.target
    if ratio is None or target is None:
        return False
    if indicator.is_maximum:
        return value >= ratio * target - SAME
    return value < target * (ratio if ratio >= 1.0 else 1.0 / ratio) - SAME


def _row(
    indicator: Indicator, who: tuple[str, str, Any], numbers: tuple[float, float, float | None, float],
    n: tuple[int, int],
) -> Row:  # fmt: skip
    """A row from factor, numerator, denominator and the unknown amount."""
    factor, numerator, denominator, unknown = numbers
    kind = str(indicator.measure["kind"])
    is_share = kind.startswith("share-")
    low = high = None
    if denominator is None:
        value: float | None = None if np.isnan(numerator) else factor * float(numerator)
    else:
        value = factor * numerator / denominator if denominator > 0 else None
    if is_share and n[1] and denominator is not None:
        whole = denominator + unknown
        if unknown > 0:
            low, high = factor * numerator / whole, factor * (numerator + unknown) / whole
        elif kind == "share-of-area" and denominator > 0:
            low, high = factor * numerator / denominator, _PCT
    bare = Row(*who, value, "unknown", "unknown", _clean(numerator), _clean(denominator), *n, low, high)
    state, found = judged(indicator, bare)
    return Row(*who, value, state, found, bare.numerator, bare.denominator, *n, low, high)


def _clean(number: float | None) -> float | None:
    return None if number is None or np.isnan(number) else float(number)


def _told(indicator: Indicator, zones: Zones, amounts: Amounts) -> Value:
    k = len(zones)
    by = amounts.denominator
    factor = _PCT if str(indicator.measure["kind"]).startswith("share-") else amounts.factor

    def row(slot: int, who: tuple[str, str, Any]) -> Row:
        below = None if by is None else float(by[slot])
        n = int(amounts.n[slot]), int(amounts.n_unknown[slot])
        return _row(indicator, who, (factor, float(amounts.numerator[slot]), below, float(amounts.unknown[slot])), n)

    inside = slice(0, k + 1)
    above = float(amounts.numerator[inside].sum())
    below = None if by is None else float(by[inside].sum())
    if amounts.whole is not None:
        above, total = amounts.whole
        below = None if by is None else total
    n = int(amounts.n[inside].sum()), int(amounts.n_unknown[inside].sum())
    unknown = float(amounts.unknown[inside].sum())
    city = _row(indicator, (zones.code, zones.name, "city"), (factor, above, below, unknown), n)
    is_spatial = amounts.whole is None or bool(amounts.numerator.any()) or (by is not None and bool(by.any()))
    rows = [row(i, (zones.codes[i], zones.names[i], "zone")) for i in range(k)] if is_spatial else []
    if rows and _has(amounts, k):
        rows.append(row(k, ("", "", "rest")))
    kinds: list[tuple[int, Literal["outside", "unlocated"]]] = [(k + 1, "outside"), (k + 2, "unlocated")]
    apart = [row(i, ("", "", kind)) for i, kind in kinds if not zones.is_part and _has(amounts, i)]
    facts = dict(amounts.facts)
    if zones.overlap_m2 > 1.0:
        facts["zones_overlap_m2"] = zones.overlap_m2
    return Value(indicator, city, rows, apart, None, amounts.items, facts)


def _has(amounts: Amounts, slot: int) -> bool:
    """Whether anything worth a row is in a slot: things, or more than a sliver of an amount."""
    below = 0.0 if amounts.denominator is None else float(amounts.denominator[slot])
    most = max(float(amounts.numerator[slot]), below, float(amounts.unknown[slot]))
    return bool(amounts.n[slot] or amounts.n_unknown[slot] or most > SAME)


def _untold(indicator: Indicator, zones: Zones, missing: tuple[str, str]) -> Value:
    def row(who: tuple[str, str, Any]) -> Row:
        return Row(*who, None, "unknown", "unknown")

    rows = [row((code, name, "zone")) for code, name in zip(zones.codes, zones.names, strict=True)]
    return Value(indicator, row((zones.code, zones.name, "city")), rows, [], missing)


def _weighted(indicator: Indicator, source: Source, zones: Zones) -> Value:
    """The weighted mean of several shares; unknown wherever one of them is (a weight cannot be left out unsaid)."""
    parts: list[tuple[str, float, Value]] = []
    for given in indicator.measure["parts"]:
        plain = Indicator(indicator.id, indicator.title, given["measure"], indicator.clause, indicator.source)
        parts.append((str(given["name"]), float(given["weight"]), evaluate(plain, source, zones)))

    def mean(rows: list[Row], who: tuple[str, str, Any]) -> Row:
        weights = [weight for _, weight, _ in parts]
        told = [each.value for each in rows]
        value = None if None in told else sum(w * v for w, v in zip(weights, told, strict=True) if v is not None)
        n = sum(each.n for each in rows), sum(each.n_unknown for each in rows)
        low = high = None
        if value is not None and n[1]:
            low, high = (
                sum(w * end for w, end in zip(weights, ends, strict=True))
                for ends in ([min(_ends(each)) for each in rows], [max(_ends(each)) for each in rows])
            )
        bare = Row(*who, value, "unknown", "unknown", None, None, *n, low, high)
        state, found = judged(indicator, bare)
        return Row(*who, value, state, found, None, None, *n, low, high)

    missing = next((value.missing for _, _, value in parts if value.missing), None)
    by_code = [{row.code: row for row in value.zones if row.kind == "zone"} for _, _, value in parts]
    city = mean([value.city for _, _, value in parts], (zones.code, zones.name, "city"))
    rows = [
        mean([each[code] for each in by_code], (code, name, "zone"))
        for code, name in zip(zones.codes, zones.names, strict=True)
    ]
    items = [each for _, _, value in parts for each in value.items]
    return Value(indicator, city, rows, [], missing, items, {}, parts)
