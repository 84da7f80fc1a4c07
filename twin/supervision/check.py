"""What a check is: one topic's look at a place, by the rules of the day, as rows that pass, fail or cannot be told."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import shapely

from layers.catalogue import Title
from twin.analysis.place import collected
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import Verdict
from twin.store.interface import Features, Query
from twin.supervision.rules import Confidence, Rule, RuleBook, on_day

if TYPE_CHECKING:
    from twin.city import City

Supervision = Literal["construction", "water", "one-map"]
SUPERVISIONS: dict[Supervision, Title] = {
    "construction": Title("建筑工地监管", "Construction sites"),
    "water": Title("水务监管", "Water"),
    "one-map": Title("自然资源一张图监管", "Natural resources, one map"),
}


@dataclass(frozen=True)
class Finding:
    """One thing held against one rule.

    Attributes
    ----------
    rule : id
    objects : what it is about, each `layer/id`; the first is where it is found. Together with the rule (and `part`)
        they are the finding's name: the same again is the same finding
    verdict : `unknown` where data is missing; `note` then says which
    measured, limit, unit : None where there is none
    geometry : in the city's CRS, where it is; None where it has no place
    title : in words, Chinese and English
    note : what else a reader should know
    part : tells apart several findings of one rule on the same objects (a moment, a side)
    time : of what was measured, where it is not now
    evidence : address of what shows it, relative to the server (a process with its inputs, an item)
    """

    rule: str
    objects: tuple[str, ...]
    verdict: Verdict
    measured: float | None
    limit: float | None
    unit: str
    geometry: shapely.Geometry | None
    title: Title
    clause: str
    source: str
    confidence: Confidence
    note: Title | None = None
    part: str = ""
    time: dt.datetime | None = None
    evidence: str | None = None


def finding(
    rule: Rule,
    objects: tuple[str, ...],
    measured: float | None,
    geometry: shapely.Geometry | None,
    title: Title | None = None,
    *,
    limit: float | None = None,
    confidence: Confidence | None = None,
    verdict: Verdict | None = None,
    **more: Any,
) -> Finding:
    """A finding with what its rule says: verdict (unless given), limit, unit, clause, source and confidence."""
    used = rule.value if limit is None else limit
    number = None if measured is None or np.isnan(measured) else float(measured)
    sure = confidence or rule.confidence
    found = rule.judged(number, used, sure) if verdict is None else verdict
    return Finding(
        rule.id, objects, found, number, used, rule.unit, geometry, title or rule.title, rule.clause, rule.source, sure,
        more.pop("note", rule.note), **more,
    )  # fmt: skip


@dataclass(frozen=True)
class Passed:
    """So many things that a rule holds for, not told one by one."""

    rule: str
    n: int


@dataclass
class Context:
    """A place to look at, each layer read once.

    Attributes
    ----------
    region : in the city's CRS; None is the whole city
    site : `layer/id` of the site it is, where it is one
    moment : state of the city that is looked at; None is now
    now : the present, given from outside
    """

    city: "City"
    region: shapely.Geometry | None = None
    site: str | None = None
    moment: dt.datetime | None = None
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    progress: Progress = SILENT
    _read: dict[tuple[Any, ...], Features] = field(default_factory=dict, repr=False)

    @cached_property
    def rules(self) -> RuleBook:
        """Those of the day looked at, in the city's own time where that is known (else UTC+8)."""
        zone = dt.timezone(dt.timedelta(hours=8))
        return on_day((self.moment or self.now).astimezone(zone).date(), self.city.folder)

    def has(self, layer: str) -> bool:
        """Whether the city has the layer (and the asker may see it) and anything in it."""
        return layer in self.city and self.city.store.layer(layer, self.city.scope).count > 0

    def read(self, layer: str, *, reach_m: float = 0.0, properties: tuple[str, ...] | None = None) -> Features:
        """Features that meet the region widened by `reach_m`, city CRS; none where there is no such layer.

        `properties` that the layer lacks are left out; `place.numbers` and `place.words` give NaN and None for them.
        """
        key = (layer, reach_m, properties)
        if key not in self._read:
            self._read[key] = self._features(layer, reach_m, properties)
        return self._read[key]

    def _features(self, layer: str, reach_m: float, properties: tuple[str, ...] | None) -> Features:
        if not self.has(layer):
            return collected(())
        names = {each.name for each in self.city.store.layer(layer, self.city.scope).type.attributes}
        known = None if properties is None else tuple(each for each in properties if each in names)
        query = Query(region=self._reach(reach_m), at=self.moment, properties=known)
        found = collected(self.city.store.query(layer, query, self.city.scope), layer)
        if len(found) or known is None:
            return found
        empty = pa.table({each: pa.array([], pa.null()) for each in known})
        return Features(found.fids, [], found.geometry, empty, [], found.versions, [], [])

    def _reach(self, reach_m: float) -> shapely.Geometry | None:
        if self.region is None or reach_m == 0.0:
            return self.region
        return shapely.box(*np.add(shapely.bounds(self.region), np.array([-1, -1, 1, 1]) * reach_m))


@dataclass(frozen=True)
class Check:
    """One topic.

    Attributes
    ----------
    id : for example `crane-conflict`
    rules : ids of the rules it holds against the city
    needs : layers without which nothing can be told: each rule is then `unknown`, with the layer's name
    run : yields a finding for everything looked at that does not pass, and for what passes a finding or `Passed`
    is_of_the_city : speaks of the whole city alone, such as its indicators: a run over a part tells nothing of it
    """

    id: str
    supervision: Supervision
    title: Title
    rules: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Context], Iterator[Finding | Passed]]
    is_of_the_city: bool = False
