"""A report from what there is: runs of the engine, or findings kept in the city; indicators with their history."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.crs import Bounds
from twin.analysis.place import collected, extent
from twin.analysis.verdict import WORST_FIRST, Verdict
from twin.store.interface import Query
from twin.supervision import history
from twin.supervision.check import SUPERVISIONS, Finding, Supervision
from twin.supervision.engine import Run, registry
from twin.supervision.history_trend import Forecast
from twin.supervision.indicators import Source, evaluate, load, of_city
from twin.supervision.report.model import CheckLine, Draw, Entry, IndicatorLine, Language, Picture, Report, Section
from twin.supervision.report.words import told, word

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.indicators import Value

MOST = 500
"""Findings of a section that a report lists; the others are counted."""
WIDTH, HEIGHT = 1200, 800
MARGIN = 0.06
LEAST_M = 60.0
ZONE = dt.timezone(dt.timedelta(hours=8))


def from_runs(
    city: "City", runs: Sequence[Run], language: Language, draw: Draw | None = None, *, most: int = MOST
) -> Report:
    """A report of runs over one place.

    Parameters
    ----------
    draw : makes the pictures below the marks; no maps without it
    most : findings listed of a section
    """
    region = next((run.region for run in runs if run.region is not None), None)
    site = next((run.site for run in runs if run.site), None)
    sections = [_of_run(city, run, language, draw, most) for run in runs]
    whole = region is None
    moment = runs[0].moment if runs else None
    return Report(
        city=city.config.title_in(language), place=site or (word("whole", language) if whole else _box(region)),
        made=(runs[0].now if runs else dt.datetime.now(dt.UTC)).astimezone(ZONE), language=language, sections=sections,
        indicators=_indicators(city, moment, language) if whole else [],
        of=word("now", language) if moment is None else moment.astimezone(ZONE).isoformat(" ", "minutes"),
        crs=city.crs,
    )  # fmt: skip


def from_kept(
    city: "City",
    supervisions: Sequence[Supervision],
    language: Language,
    draw: Draw | None = None,
    *,
    most: int = MOST,
    now: dt.datetime | None = None,
) -> Report:
    """A report of the findings kept in the layer `finding`, those that were closed left out."""
    sections = [_of_kept(city, each, language, draw, most) for each in supervisions]
    return Report(
        city=city.config.title_in(language), place=word("whole", language),
        made=(now or dt.datetime.now(dt.UTC)).astimezone(ZONE), language=language, sections=sections,
        indicators=_indicators(city, None, language), of=word("now", language), crs=city.crs,
    )  # fmt: skip


def _of_run(city: "City", run: Run, language: Language, draw: Draw | None, most: int) -> Section:
    checks = [CheckLine(told(each.check.title, language), each.counts()) for each in run.results]
    found = [each for each in run.findings if each.verdict != "pass"]
    points = _points([each.geometry for each in found])
    entries = [_entry(each, place, language) for each, place in zip(found, points, strict=True)]
    return _section(
        city, SUPERVISIONS[run.supervision], (run.counts(), checks, entries), (language, draw, most, run.region)
    )


def _entry(found: Finding, place: tuple[float, float] | None, language: Language) -> Entry:
    return Entry(
        0, found.verdict, told(found.title, language), found.rule, found.clause, ", ".join(found.objects),
        found.measured, found.limit, found.unit, found.confidence, told(found.note, language), "",
        "" if found.time is None else found.time.astimezone(ZONE).isoformat(" ", "minutes"), place,
    )  # fmt: skip


def _of_kept(city: "City", supervision: Supervision, language: Language, draw: Draw | None, most: int) -> Section:
    entries: list[Entry] = []
    by_check: dict[str, dict[Verdict, int]] = {}
    if "finding" in city:
        same = {"op": "=", "args": [{"property": "supervision"}, supervision]}
        found = collected(city.store.query("finding", Query(filter=same), city.scope), "finding")
        for row, place in zip(found.attributes.to_pylist(), _points(list(found.geometry)), strict=True):
            if row["status"] != "closed":
                entries.append(_kept_entry(row, place, language))
                counts = by_check.setdefault(row["check"] or "", dict.fromkeys(WORST_FIRST, 0))
                counts[row["verdict"]] += 1
    known = registry()
    checks = [
        CheckLine(told(known[name].title, language) if name in known else name, counts)
        for name, counts in sorted(by_check.items())
    ]
    total: dict[Verdict, int] = {each: sum(line.counts[each] for line in checks) for each in WORST_FIRST}
    return _section(city, SUPERVISIONS[supervision], (total, checks, entries), (language, draw, most, None))


def _kept_entry(row: dict[str, Any], place: tuple[float, float] | None, language: Language) -> Entry:
    notes = str(row["note"] or "").split(" / ")
    note = notes[-1] if language == "en" else notes[0]
    title = row["name_en"] if language == "en" else row["name"]
    return Entry(
        0, row["verdict"], title or row["name"] or row["rule"], row["rule"] or "", row["clause"] or "",
        ", ".join(json.loads(row["objects"] or "[]")), row["measured"], row["limit_value"], row["unit"] or "",
        row["confidence"] or "", note, row["status"] or "",
        "" if row["measured_at"] is None else row["measured_at"].astimezone(ZONE).isoformat(" ", "minutes"), place,
    )  # fmt: skip


def _section(
    city: "City",
    title: Title,
    what: tuple[dict[Verdict, int], list[CheckLine], list[Entry]],
    how: tuple[Language, Draw | None, int, shapely.Geometry | None],
) -> Section:
    counts, checks, entries = what
    language, draw, most, region = how
    order = {name: at for at, name in enumerate(WORST_FIRST)}
    entries.sort(key=lambda each: (order[each.verdict], each.rule, each.objects))
    listed = [replace(each, number=number) for number, each in enumerate(entries[:most], 1)]
    picture = None if draw is None else _picture(city, listed, region, draw)
    return Section(told(title, language), counts, checks, listed, len(entries), picture)


def _points(shapes: Sequence[Any]) -> list[tuple[float, float] | None]:
    flat = shapely.force_2d(np.array([*shapes, None], dtype=object))[:-1]
    inner = shapely.point_on_surface(flat)
    return [None if each is None or shapely.is_empty(each) else (each.x, each.y) for each in inner]


def _picture(city: "City", entries: Sequence[Entry], region: shapely.Geometry | None, draw: Draw) -> Picture | None:
    """The place, widened to the picture's shape; None for a city without extent."""
    box = extent(city) if region is None else tuple(shapely.bounds(region).tolist())
    if box is None:
        return None
    places = np.array([each.place for each in entries if each.place is not None] or np.empty((0, 2)))
    west, south, east, north = box
    if region is not None and len(places):
        (west, south), (east, north) = (
            np.minimum(places.min(axis=0), (west, south)), np.maximum(places.max(axis=0), (east, north)),
        )  # fmt: skip
    bounds = _fitted((float(west), float(south), float(east), float(north)))
    return Picture(draw(bounds, WIDTH, HEIGHT), bounds, WIDTH, HEIGHT)


def _fitted(box: Bounds) -> Bounds:
    west, south, east, north = box
    wide = max((east - west) * (1 + 2 * MARGIN), LEAST_M)
    high = max((north - south) * (1 + 2 * MARGIN), LEAST_M)
    wide, high = max(wide, high * WIDTH / HEIGHT), max(high, wide * HEIGHT / WIDTH)
    x, y = (west + east) / 2, (south + north) / 2
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _box(region: Any) -> str:
    west, south, east, north = shapely.bounds(region).tolist()
    return f"{west:.0f}, {south:.0f} – {east:.0f}, {north:.0f}"


def _indicators(city: "City", moment: dt.datetime | None, language: Language) -> list[IndicatorLine]:
    """All of the register, for the city and its towns."""
    source = Source(city, {}, moment)
    zones = of_city(source, "town")
    day = (moment or dt.datetime.now(dt.UTC)).astimezone(ZONE).date()
    return [
        _line(city, evaluate(each, source, zones), zones.code, language) for each in load(city.folder, day).values()
    ]


def _line(city: "City", value: "Value", code: str, language: Language) -> IndicatorLine:
    each = value.indicator
    days, values = history.series(city, each.id, code)
    note = told(value.why_unknown, language) or told(each.note, language)
    kept = [(day.toordinal(), number) for day, number in zip(days, values, strict=True)]
    forecast = ""
    if len(days) >= 1 and value.city.value is not None and each.target is not None:
        forecast = _expected(history.forecast_of(city, value, code), language)
    return IndicatorLine(
        each.id, told(each.title, language), each.unit, value.city.value, each.target, each.comparator,
        value.city.state, [(row.name, row.value, row.state) for row in value.zones if row.kind == "zone"],
        note, kept, forecast,
    )  # fmt: skip


def _expected(found: Forecast, language: Language) -> str:
    """A forecast in words; empty where there is none to tell."""
    if found.state != "expected" or found.date is None:
        return word(found.state, language) if found.state in {"met", "not-expected", "too-few"} else ""
    say: Callable[[str], str] = lambda key: word(key, language)  # noqa: E731 short for what follows
    soon = found.earliest or found.date
    ends = [say("earliest").format(date=soon.isoformat())]
    ends.append(say("no-latest") if found.latest is None else say("latest").format(date=found.latest.isoformat()))
    between = "，" if language == "zh" else ", "
    return say("expected").format(date=found.date.isoformat(), range=between.join(ends))
