"""One call for a site, an area or the whole city: every check of a supervision, each rule with a verdict."""

import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import shapely

from layers.catalogue import Title
from layers.errors import CityTwinError, InvalidInput, LayerNotFound, NotFound
from twin.analysis.progress import SILENT, Dismissed, Progress
from twin.analysis.verdict import WORST_FIRST, Verdict, worst
from twin.store.interface import Query
from twin.supervision import checks as checks_package
from twin.supervision.check import Check, Context, Finding, Passed, Supervision, finding

if TYPE_CHECKING:
    from twin.city import City

LOG = logging.getLogger("citytwin.supervision")
SITE_LAYER = "construction_site"


@dataclass(frozen=True)
class CheckResult:
    """What one check told.

    Attributes
    ----------
    findings : one a thing and rule; also those that pass, where the check tells them
    passed : rule -> how many things passed that have no finding of their own
    seconds : how long it took
    titles : of the check's rules, where the rule book has them
    """

    check: Check
    findings: list[Finding]
    passed: dict[str, int]
    seconds: float
    titles: Mapping[str, Title] = field(default_factory=dict)

    def counts(self, rule: str | None = None) -> dict[Verdict, int]:
        """How many things have which verdict, of one rule or of all."""
        found = Counter(each.verdict for each in self.findings if rule is None or each.rule == rule)
        found["pass"] += sum(n for name, n in self.passed.items() if rule is None or name == rule)
        return {each: found[each] for each in WORST_FIRST}

    def verdict(self, rule: str) -> Verdict | None:
        """The worst of a rule; None where there was nothing that it speaks of."""
        found = [name for name, n in self.counts(rule).items() if n]
        return worst(found) if found else None


@dataclass(frozen=True)
class Run:
    """A supervision of a place.

    Attributes
    ----------
    site : `layer/id`, where the place is that feature
    region : in the city's CRS; None is the whole city
    moment : state of the city that was looked at; None is now
    now : when it was done
    """

    supervision: Supervision
    results: list[CheckResult]
    site: str | None
    region: shapely.Geometry | None
    moment: dt.datetime | None
    now: dt.datetime

    @property
    def findings(self) -> list[Finding]:
        """Of all checks."""
        return [each for result in self.results for each in result.findings]

    def counts(self) -> dict[Verdict, int]:
        """How many things have which verdict."""
        found: Counter[Verdict] = Counter()
        for result in self.results:
            found.update(result.counts())
        return {each: found[each] for each in WORST_FIRST}


@dataclass
class _Told:
    findings: list[Finding] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)


@lru_cache(maxsize=1)
def registry() -> dict[str, Check]:
    """Every check by id."""
    names = sorted(each.name for each in iter_modules(checks_package.__path__))
    found: dict[str, Check] = {}
    for name in names:
        for check in import_module(f"{checks_package.__name__}.{name}").CHECKS:
            assert check.id not in found, check.id
            found[check.id] = check
    return found


def chosen(supervision: Supervision, ids: Sequence[str] | None = None) -> list[Check]:
    """The checks of a supervision, or some of them; NotFound names what there is."""
    known = {key: check for key, check in registry().items() if check.supervision == supervision}
    for each in ids or ():
        if each not in known:
            raise NotFound(f"{supervision} has no check {each[:60]!r}.", f"It has {', '.join(known)}.")
    return [check for key, check in known.items() if ids is None or key in ids]


def place_of(city: "City", site: str, moment: dt.datetime | None = None) -> tuple[str, shapely.Geometry]:
    """`layer/id` and the area of a site: an id of the layer of construction sites, or `layer/id` of any feature."""
    layer, _, name = site.rpartition("/")
    layer = layer or SITE_LAYER
    try:
        found = list(city.store.query(layer, Query(ids=(name,), at=moment), city.scope))
    except LayerNotFound as error:
        raise NotFound(f"site: the city has no layer {layer!r}.", "Name it as layer/id.") from error
    if not found:
        raise NotFound(f"site: there is no {layer} {name[:80]!r}.", f"See /collections/{layer}/items.")
    shape = found[0].geometry[0]
    if shape is None or shapely.is_empty(shape):
        raise InvalidInput(f"site: {layer}/{name} has no geometry, so nothing can be looked at around it.")
    return f"{layer}/{name}", shapely.force_2d(shape)


def run(
    city: "City",
    supervision: Supervision,
    *,
    region: shapely.Geometry | None = None,
    site: str | None = None,
    checks: Sequence[str] | None = None,
    moment: dt.datetime | None = None,
    now: dt.datetime | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Hold the rules of the day against a place.

    Parameters
    ----------
    region : area in the city's CRS; the whole city when neither it nor `site` is given
    site : id of a construction site, or `layer/id` of another feature, whose geometry is the place
    checks : ids; all of the supervision when absent
    moment : state of the city that is looked at; now when absent

    A rule whose data is not there is `unknown`; so is one whose check could not be carried out, which is logged.
    """
    name = None
    if site is not None:
        name, region = place_of(city, site, moment)
    context = Context(city, region, name, moment, now or dt.datetime.now(dt.UTC))
    wanted = chosen(supervision, checks)
    results = []
    for at, check in enumerate(wanted):
        context.progress = progress.part(100.0 * at / len(wanted), 100.0 * (at + 1) / len(wanted))
        context.progress(0, check.title.en)
        results.append(_result(check, context))
    progress(100, "done")
    return Run(supervision, results, name, region, moment, context.now)


def _result(check: Check, context: Context) -> CheckResult:
    start = time.perf_counter()
    missing = [layer for layer in check.needs if not context.has(layer)]
    told = _Told()
    if missing:
        told.findings += _unknown(check, context, *_lacking(context, missing))
    else:
        try:
            _collect(told, check.run(context))
        except Dismissed:
            raise
        except CityTwinError as error:
            told.findings += _unknown(check, context, str(error), str(error))
        except Exception:
            LOG.exception("check %s failed", check.id)
            words = "检查未能完成，原因见服务日志", "The check could not be carried out; the log says why."
            told.findings += _unknown(check, context, *words)
    titles = {rule: context.rules[rule].title for rule in check.rules if rule in context.rules}
    return CheckResult(check, told.findings, dict(told.passed), time.perf_counter() - start, titles)


def _collect(told: _Told, found: Iterable[Finding | Passed]) -> None:
    for each in found:
        if isinstance(each, Passed):
            told.passed[each.rule] += each.n
        else:
            told.findings.append(each)


def _lacking(context: Context, missing: Sequence[str]) -> tuple[str, str]:
    names = ", ".join(missing)
    if all(layer in context.city for layer in missing):
        return f"图层没有要素：{names}", f"There is nothing in the layer {names}."
    return f"缺少图层：{names}", f"The city has no layer {names}."


def _unknown(check: Check, context: Context, zh: str, en: str) -> list[Finding]:
    """Each rule of a check that could not look: at the place itself."""
    where = context.site or "city"
    return [
        finding(context.rules[rule], (where,), None, context.region, verdict="unknown", note=Title(zh, en))
        for rule in check.rules
        if rule in context.rules
    ]
