"""Shares of counts and of lengths: of all things of a kind, those for which a condition holds or a device is there."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.coverage_indicators_zones import lines_of
from twin.analysis.place import words
from twin.store.interface import Features
from twin.supervision.indicators import condition
from twin.supervision.indicators.admin import Zones
from twin.supervision.indicators.amounts import Amounts, Items, counted, cut, place, slots, summed
from twin.supervision.indicators.condition import FALSE, TRUE, UNKNOWN, Truth
from twin.supervision.indicators.source import Source, first_there, names, taken


def share_of_count(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Of all features, the share for which the condition holds. A feature is counted where its (inner) point is."""
    made = _nothing(zones)
    for layer, found, truth in _judged(source, measure):
        slot = place(zones, found)
        _add(made, zones, (slot, np.ones(len(found))), truth)
        made.items += _items(layer, found, truth, slot)
    return made


def share_of_length(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Of the plane length of all lines, the share of those for which the condition holds; cut at the zones' edges."""
    made = _nothing(zones)
    by_layer: dict[str, float] = {}
    for layer, found, truth in _judged(source, measure):
        lines = lines_of(found.geometry)
        row, slot, part = cut(zones, lines)
        length = np.asarray(shapely.length(part), np.float64)
        _add(made, zones, (slot, length), truth[row], things=row)
        by_layer[layer] = float(length.sum())
        made.n[-1] += int(shapely.is_missing(lines).sum())
        where = place(zones, found)
        made.items += _items(layer, found, truth, where)
    made.facts["length_m_by_layer"] = by_layer
    return made


def _nothing(zones: Zones) -> Amounts:
    n = slots(zones)
    return Amounts(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64))


def _add(
    made: Amounts,
    zones: Zones,
    where: tuple[NDArray[np.int64], NDArray[np.float64]],
    truth: Truth,
    things: NDArray[np.int64] | None = None,
) -> None:
    """Add amounts in slots (`where`) that count, do not, or are not known; `things` are they parts of."""
    slot, amount = where
    is_known = truth != UNKNOWN
    made.numerator += summed(zones, slot, np.where(truth == TRUE, amount, 0.0))
    made.denominator = np.zeros(slots(zones)) if made.denominator is None else made.denominator
    made.denominator += summed(zones, slot, np.where(is_known, amount, 0.0))
    made.unknown += summed(zones, slot, np.where(is_known, 0.0, amount))
    if things is not None:  # a line in two parts of one zone is one line there
        _, first = np.unique(np.stack([things, slot]), axis=1, return_index=True)
        slot, is_known = slot[first], is_known[first]
    made.n += counted(zones, slot[is_known])
    made.n_unknown += counted(zones, slot[~is_known])


def _judged(source: Source, measure: Mapping[str, Any]) -> Iterable[tuple[str, Features, Truth]]:
    """Layer by layer, features and whether each counts. NoData where none of the layers is there."""
    first_there(source, measure["layers"])
    there = [each for each in measure["layers"] if source.has(each["layer"])]
    has_condition = "condition" in measure
    columns = sorted(condition.told_by(measure, "condition", "known") | set(filter(None, [_host_column(measure)])))
    links = _links(source, measure, must=not has_condition)
    for each in there:
        found = source.features(each["layer"], each.get("filter"), columns)
        found = _kept(source, measure, found)
        truth = np.full(len(found), FALSE, np.int8)
        if has_condition:
            truth = condition.told(measure, "condition", found.attributes, len(found))
        if links is not None:
            truth = _linked(found, each["layer"], truth, links)
        yield each["layer"], found, truth


def _links(source: Source, measure: Mapping[str, Any], *, must: bool) -> tuple[set[str], set[str]] | None:
    """What devices name as their host: those that surely count, and those of devices whose state is not known."""
    link = measure.get("linked_by")
    if link is None or not (must or source.has(link["layer"])):
        return None
    columns = [link["attribute"], *condition.told_by(link, "condition")]
    found = source.features(link["layer"], link.get("filter"), columns)
    truth = condition.told(link, "condition", found.attributes, len(found))
    hosts = words(found, link["attribute"])
    sure = {host for host, each in zip(hosts, truth.tolist(), strict=True) if host and each == TRUE}
    maybe = {host for host, each in zip(hosts, truth.tolist(), strict=True) if host and each == UNKNOWN}
    return sure, maybe


def _linked(found: Features, layer: str, truth: Truth, links: tuple[set[str], set[str]]) -> Truth:
    sure, maybe = links
    made = truth.copy()
    for row, own in enumerate(names(found, layer)):
        if made[row] == TRUE:
            continue
        if not own.isdisjoint(sure):
            made[row] = TRUE
        elif not own.isdisjoint(maybe):
            made[row] = UNKNOWN
    return made


def _host_column(measure: Mapping[str, Any]) -> str | None:
    host = measure.get("host")
    return None if host is None else str(host["attribute"])


def _kept(source: Source, measure: Mapping[str, Any], found: Features) -> Features:
    """Without those whose host is known to be of another kind; one without a (known) host stays."""
    host = measure.get("host")
    if host is None or not source.has(host["layer"]):
        return found
    expression = condition.parsed(host["condition"])
    hosts = source.features(host["layer"], None, sorted(condition.properties(expression)))
    truth = condition.truth(expression, hosts.attributes, len(hosts))
    known = names(hosts, host["layer"])
    good = {name for row in np.flatnonzero(truth == TRUE).tolist() for name in known[row]}
    other = {name for row in np.flatnonzero(truth == FALSE).tolist() for name in known[row]} - good
    told = words(found, str(host["attribute"]))
    return taken(found, np.array([row for row, name in enumerate(told) if name not in other], np.int64))


def _items(layer: str, found: Features, truth: Truth, slot: NDArray[np.int64]) -> list[Items]:
    made = []
    for state, code in (("no", FALSE), ("unknown", UNKNOWN)):
        rows = np.flatnonzero(truth == code)
        made.append(Items(layer, [found.ids[row] for row in rows.tolist()], found.geometry[rows], state, slot[rows]))
    return made
