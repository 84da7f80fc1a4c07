"""A report as one HTML page: nothing in it comes from anywhere else, and it has no script; for phones and paper too."""

import base64
from collections.abc import Callable, Iterable, Mapping
from html import escape

from twin.analysis.verdict import WORST_FIRST, Verdict
from twin.supervision.report import plots
from twin.supervision.report.model import Entry, IndicatorLine, Picture, Report, Section
from twin.supervision.report.page_style import STYLE
from twin.supervision.report.words import COLOURS, amount, number, sign, word

LANGUAGES = {"zh": "zh-CN", "en": "en"}


def html(report: Report) -> str:
    """The whole page."""
    say = _sayer(report)
    title = f"{report.city} · {say('report')}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _facts(report),
        f'<h2 class="first">{say("summary")}</h2>',
        _counts(report.counts, report),
        f'<p class="note">{say("explained")}</p>',
        _overview(report),
        _indicators(report) if report.indicators else "",
        *(_section(section, report) for section in report.sections),
    ]
    return (
        f'<!doctype html>\n<html lang="{LANGUAGES[report.language]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _sayer(report: Report) -> Callable[[str], str]:
    """Words in the language of the report, escaped."""
    return lambda key: escape(word(key, report.language))


def _facts(report: Report) -> str:
    say = _sayer(report)
    facts = [
        (say("place"), report.place), (say("of"), report.of), (say("made"), report.made.isoformat(" ", "minutes")),
        (say("crs"), report.crs),
    ]  # fmt: skip
    return '<p class="facts">' + " · ".join(f"{key}: {escape(value)}" for key, value in facts if value) + "</p>"


def _counts(counts: Mapping[Verdict, int], report: Report) -> str:
    say = _sayer(report)
    items = [f'<li style="--c:{COLOURS[name]}"><b>{counts.get(name, 0):,}</b>{say(name)}</li>' for name in WORST_FIRST]
    return f'<ul class="counts">{"".join(items)}</ul>'


def _tag(name: str, report: Report) -> str:
    return f'<span class="tag" style="--c:{COLOURS[name]}">{_sayer(report)(name)}</span>' if name in COLOURS else ""


def _table(heads: Iterable[tuple[str, str]], rows: Iterable[list[str]]) -> str:
    """Heads are (text, class); a narrow screen shows each row as a card with the heads as labels."""
    heads = list(heads)
    head = "".join(f'<th class="{kind}">{text}</th>' for text, kind in heads)
    lines = []
    for row in rows:
        cells = "".join(
            f'<td class="{kind}" data-label="{text}">{f"<div>{cell}</div>" if cell else ""}</td>'
            for (text, kind), cell in zip(heads, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _overview(report: Report) -> str:
    """Every supervision in a line."""
    if len(report.sections) < 2:
        return ""
    say = _sayer(report)
    heads = [("", ""), *((say(name), "n") for name in WORST_FIRST)]
    rows = [
        [escape(each.title), *(f"{each.counts.get(name, 0):,}" for name in WORST_FIRST)] for each in report.sections
    ]
    return _table(heads, rows)


def _section(section: Section, report: Report) -> str:
    say = _sayer(report)
    checks = _table(
        [(say("check"), ""), *((say(name), "n") for name in WORST_FIRST)],
        [[escape(each.title), *(f"{each.counts.get(name, 0):,}" for name in WORST_FIRST)] for each in section.checks],
    )
    parts = [f"<h2>{escape(section.title)}</h2>", _counts(section.counts, report)]
    if section.picture is not None:
        parts.append(f"<h3>{say('map')}</h3>{_map(section.picture, section.entries, report)}")
    if section.checks:
        parts.append(f"<h3>{say('checks')}</h3>{checks}")
    parts.append(f"<h3>{say('findings')}</h3>")
    parts.append(_entries(section, report) if section.entries else f"<p>{say('none')}</p>")
    left = section.n_entries - len(section.entries)
    if left:
        parts.append(f'<p class="note">{say("more").format(n=f"{left:,}")}</p>')
    return "\n".join(parts)


def _entries(section: Section, report: Report) -> str:
    say = _sayer(report)
    has_status = any(each.status for each in section.entries)
    heads = [
        (say("number"), "n"), (say("verdict"), ""), (say("finding"), ""), (say("object"), ""), (say("measured"), "n"),
        (say("limit"), "n"), (say("clause"), ""),
    ]  # fmt: skip
    if has_status:
        heads.insert(2, (say("state"), ""))
    rows = []
    for each in section.entries:
        row = [
            str(each.number), _tag(each.verdict, report),
            _with_note(each), escape(each.objects), escape(amount(each.measured, each.unit, report.language)),
            escape(amount(each.limit, each.unit, report.language)), _clause(each, report),
        ]  # fmt: skip
        if has_status:
            row.insert(2, say(each.status))
        rows.append(row)
    return _table(heads, rows)


def _with_note(each: Entry) -> str:
    small = " · ".join(part for part in (each.note, each.time) if part)
    return escape(each.title) + (f"<small>{escape(small)}</small>" if small else "")


def _clause(each: Entry, report: Report) -> str:
    say = _sayer(report)
    small = f"{each.rule} · {say('confidence')}: {say(each.confidence)}" if each.confidence else each.rule
    return f"{escape(each.clause)}<small>{small}</small>"


def _map(picture: Picture, entries: Iterable[Entry], report: Report) -> str:
    """The picture with a numbered mark for each finding that has a place, the worst on top."""
    data = base64.b64encode(picture.png).decode()
    marks = []
    for each in reversed(list(entries)):
        if each.place is None:
            continue
        x, y = picture.position(each.place)
        if 0 <= x <= picture.width and 0 <= y <= picture.height:
            marks.append(
                f'<g><title>{each.number} {escape(each.title)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="12" '
                f'fill="{COLOURS[each.verdict]}" stroke="#fff" stroke-width="2"/><text x="{x:.1f}" y="{y + 4:.1f}" '
                f'font-size="11" fill="#fff" text-anchor="middle">{each.number}</text></g>'
            )
    return (
        f'<figure><svg viewBox="0 0 {picture.width} {picture.height}" role="img" '
        f'aria-label="{_sayer(report)("map")}"><image width="{picture.width}" height="{picture.height}" '
        f'href="data:image/png;base64,{data}"/>{"".join(marks)}</svg></figure>'
    )


def _indicators(report: Report) -> str:
    say = _sayer(report)
    heads = [
        (say("indicator"), ""), (say("value"), "n"), (say("target"), "n"), (say("state"), ""), ("", ""),
        (say("zones"), ""),
    ]  # fmt: skip
    if any(line.history for line in report.indicators):
        heads.append((say("history"), ""))
    rows = []
    for line in report.indicators:
        target = (
            "" if line.target is None else f"{sign(line.comparator)} {amount(line.target, line.unit, report.language)}"
        )
        zones = "<br>".join(
            f'{escape(name)} <b style="color:{COLOURS.get(state, "")}">{escape(number(value))}</b>'
            for name, value, state in line.zones
            if line.value is not None
        )
        name = f"{escape(line.id)} {escape(line.title)}" + (f"<small>{escape(line.note)}</small>" if line.note else "")
        row = [
            name, escape(amount(line.value, line.unit, report.language)), escape(target), _tag(line.state, report),
            _bar(line), zones,
        ]  # fmt: skip
        if len(heads) > len(row):
            row.append(_history(line))
        rows.append(row)
    return f"<h2>{say('indicators')}</h2>{_table(heads, rows)}"


def _bar(line: IndicatorLine) -> str:
    shape = plots.bar(line, line.value)
    if shape is None:
        return ""
    width, colour = 160, COLOURS.get(line.state, "#546e7a")
    target = ""
    if shape.target is not None:
        x = shape.target * width
        target = f'<path d="M{x:.1f} 0V14" stroke="#1f2328" stroke-width="2"/>'
    return (
        f'<svg class="bar" viewBox="0 0 {width} 14" role="img" aria-label="{escape(number(line.value))}">'
        f'<rect width="{width}" y="3" height="8" fill="#e5e8eb"/>'
        f'<rect width="{shape.filled * width:.1f}" y="3" height="8" fill="{colour}"/>{target}</svg>'
    )


def _history(line: IndicatorLine) -> str:
    shape = plots.trace(line)
    said = f"<small>{escape(line.forecast)}</small>" if line.forecast else ""
    if shape is None:
        return said
    width, height = 140.0, 40.0
    points = " ".join(f"{4 + x * (width - 8):.1f},{height - 4 - y * (height - 8):.1f}" for x, y in shape.points)
    target = ""
    if shape.target is not None:
        y = height - 4 - shape.target * (height - 8)
        target = f'<path d="M0 {y:.1f}H{width:.0f}" stroke="#1f2328" stroke-dasharray="4 3"/>'
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">{target}'
        f'<polyline points="{points}" fill="none" stroke="#1565c0" stroke-width="2"/></svg>{said}'
    )
