"""A report as PDF (A4): the same content as the page, with numbered marks on the maps and bars of the indicators."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from layers.errors import InvalidInput
from twin.analysis.verdict import WORST_FIRST, Verdict
from twin.supervision.report import fonts, plots
from twin.supervision.report.model import Entry, IndicatorLine, Picture, Report, Section
from twin.supervision.report.words import COLOURS, amount, number, sign, word

if TYPE_CHECKING:
    from fpdf import FPDF

FAMILY = "text"
MARGIN_MM, WIDTH_MM = 15.0, 180.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")


def pdf(report: Report, font: Path | None = None) -> bytes:
    """The whole document.

    Parameters
    ----------
    font : with Chinese glyphs; the one found on the machine when absent

    Raises
    ------
    InvalidInput
        The report is in Chinese and there is no such font. An English one is written without it: other letters are
        shown as ?, and the report says so.
    """
    used = fonts.path() if font is None else font
    if used is None and report.language == "zh":
        raise InvalidInput(f"language: {fonts.MISSING[0]}", fonts.MISSING[1])
    writer = _Writer(report, used)
    with _quiet():
        writer.write()
        out = BytesIO()
        writer.pdf.output(out)
    return out.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """The subsetter of fonts tells every table it drops."""
    log = logging.getLogger("fontTools")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


class _Writer:
    """Puts a report on pages."""

    def __init__(self, report: Report, font: Path | None) -> None:
        self.report, self.font = report, font
        self.pdf = self._document()

    def _document(self) -> "FPDF":
        from fpdf import FPDF

        say, report, family = self.say, self.report, FAMILY if self.font else "Helvetica"

        class Document(FPDF):
            def footer(self) -> None:
                self.set_y(-12)
                self.set_font(family, size=8)
                self.set_text_color(110)
                text = say("page").format(n=self.page_no(), total="{nb}")
                self.cell(0, 6, f"{_clean(report.city, bool(font_))}    {text}", align="C")

        font_ = self.font
        made = Document(format="A4")
        made.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
        made.set_auto_page_break(True, margin=MARGIN_MM)
        made.set_title(f"{report.city} · {word('report', report.language)}")
        made.set_lang("zh-CN" if report.language == "zh" else "en")
        made.set_creation_date(report.made)
        if font_ is not None:
            made.add_font(FAMILY, fname=font_)
        made.set_font(family, size=10)
        return made

    def say(self, key: str) -> str:
        """A word in the report's language."""
        return word(key, self.report.language)

    def text(self, value: str) -> str:
        """What can be written with the font there is."""
        return _clean(value, self.font is not None)

    def line(self, value: str, size: float = 10, colour: str = "#1f2328", after: float = 1.0) -> None:
        """A paragraph."""
        self.pdf.set_font(size=size)
        self.pdf.set_text_color(*_rgb(colour))
        self.pdf.multi_cell(0, size * 0.5, self.text(value), new_x="LMARGIN", new_y="NEXT")
        self.pdf.ln(after)

    def write(self) -> None:
        """All of it."""
        report = self.report
        self.pdf.add_page()
        self.line(f"{report.city} · {self.say('report')}", 20, after=3)
        facts = [("place", report.place), ("of", report.of), ("made", report.made.isoformat(" ", "minutes")),
                 ("crs", report.crs)]  # fmt: skip
        self.line("    ".join(f"{self.say(key)}: {value}" for key, value in facts if value), 9, "#57606a")
        if self.font is None:
            self.line(word("font", "en"), 9, "#c62828")
        self.line(self.say("summary"), 14)
        self.counts(report.counts)
        self.line(self.say("explained"), 8, "#57606a")
        if len(report.sections) > 1:
            rows = [
                [each.title, *(f"{each.counts.get(name, 0):,}" for name in WORST_FIRST)] for each in report.sections
            ]
            self.table(["", *(self.say(name) for name in WORST_FIRST)], rows, (80, 25, 25, 25, 25))
        if report.indicators:
            self.indicators(report.indicators)
        for section in report.sections:
            self.pdf.add_page()
            self.section(section)

    def counts(self, counts: Mapping[Verdict, int]) -> None:
        """Four boxes."""
        x, y, wide = MARGIN_MM, self.pdf.get_y(), WIDTH_MM / len(WORST_FIRST)
        for place, name in enumerate(WORST_FIRST):
            left = x + place * wide
            self.pdf.set_fill_color(246, 248, 250)
            self.pdf.rect(left, y, wide - 3, 14, style="F")
            self.pdf.set_fill_color(*_rgb(COLOURS[name]))
            self.pdf.rect(left, y, 1.5, 14, style="F")
            self.pdf.set_text_color(*_rgb(COLOURS[name]))
            self.pdf.set_xy(left + 3, y + 1)
            self.pdf.set_font(size=15)
            self.pdf.cell(wide - 6, 7, f"{counts.get(name, 0):,}")
            self.pdf.set_xy(left + 3, y + 8)
            self.pdf.set_font(size=9)
            self.pdf.cell(wide - 6, 5, self.text(self.say(name)))
        self.pdf.set_xy(MARGIN_MM, y + 17)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float]) -> None:
        """A table with its heads repeated on each page; a cell that is a verdict has its colour."""
        from fpdf.fonts import FontFace

        self.pdf.set_font(size=8)
        self.pdf.set_text_color(31, 35, 40)
        self.pdf.set_draw_color(208, 215, 222)
        self.pdf.set_fill_color(255, 255, 255)
        colours = {self.say(name): FontFace(color=_rgb(colour)) for name, colour in COLOURS.items()}
        with self.pdf.table(
            headings_style=FontFace(emphasis=None, fill_color=(246, 248, 250)), col_widths=tuple(widths),
            width=WIDTH_MM, line_height=4.2, text_align="LEFT", padding=0.8, align="LEFT",
        ) as table:  # fmt: skip
            for number_, row in enumerate([heads, *rows]):
                line = table.row()
                for cell in row:
                    line.cell(self.text(cell), style=colours.get(cell) if number_ else None)
        self.pdf.ln(3)

    def section(self, section: Section) -> None:
        """A supervision."""
        self.line(section.title, 16, after=2)
        self.counts(section.counts)
        if section.picture is not None:
            self.map(section.picture, section.entries)
        if section.checks:
            self.line(self.say("checks"), 12)
            rows = [[each.title, *(f"{each.counts.get(name, 0):,}" for name in WORST_FIRST)] for each in section.checks]
            self.table([self.say("check"), *(self.say(name) for name in WORST_FIRST)], rows, (100, 20, 20, 20, 20))
        self.line(self.say("findings"), 12)
        if not section.entries:
            self.line(self.say("none"))
            return
        heads = ["number", "verdict", "finding", "object", "measured", "limit", "clause"]
        rows = [self._row(each) for each in section.entries]
        self.table([self.say(name) for name in heads], rows, (9, 15, 56, 34, 19, 17, 30))
        left = section.n_entries - len(section.entries)
        if left:
            self.line(self.say("more").format(n=f"{left:,}"), 9, "#57606a")

    def _row(self, each: Entry) -> list[str]:
        language = self.report.language
        small = "\n".join(part for part in (each.title, each.note, each.time) if part)
        status = f"\n{self.say(each.status)}" if each.status else ""
        return [
            str(each.number), self.say(each.verdict), small + status, each.objects,
            amount(each.measured, each.unit, language), amount(each.limit, each.unit, language),
            f"{each.clause}\n{each.rule}",
        ]  # fmt: skip

    def map(self, picture: Picture, entries: Sequence[Entry]) -> None:
        """The picture over the width of the page, with the numbers of the findings."""
        scale = WIDTH_MM / picture.width
        high = picture.height * scale
        if self.pdf.will_page_break(high + 3):
            self.pdf.add_page()
        top = self.pdf.get_y()
        self.pdf.image(BytesIO(picture.png), MARGIN_MM, top, WIDTH_MM, high)
        self.pdf.set_draw_color(255, 255, 255)
        self.pdf.set_text_color(255, 255, 255)
        self.pdf.set_font(size=5)
        for each in reversed(entries):
            if each.place is None:
                continue
            x, y = picture.position(each.place)
            if 0 <= x <= picture.width and 0 <= y <= picture.height:
                left, up = MARGIN_MM + x * scale, top + y * scale
                self.pdf.set_fill_color(*_rgb(COLOURS[each.verdict]))
                self.pdf.ellipse(left - 1.8, up - 1.8, 3.6, 3.6, style="DF")
                self.pdf.set_xy(left - 3, up - 1.3)
                self.pdf.cell(6, 2.6, str(each.number), align="C")
        self.pdf.set_xy(MARGIN_MM, top + high + 3)

    def indicators(self, lines: Sequence[IndicatorLine]) -> None:
        """Each with its value, target and a bar."""
        self.line(self.say("indicators"), 14)
        heads = ["indicator", "value", "target", "state", "zones"]
        rows, language = [], self.report.language
        for each in lines:
            target = (
                "" if each.target is None else f"{sign(each.comparator)} {amount(each.target, each.unit, language)}"
            )
            zones = "; ".join(f"{name} {number(value)}" for name, value, _ in each.zones if value is not None)
            name = "\n".join(part for part in (f"{each.id} {each.title}", each.note, each.forecast) if part)
            rows.append([name, amount(each.value, each.unit, language), target, self.say(each.state), zones])
        self.table([self.say(name) for name in heads], rows, (78, 24, 22, 16, 40))
        self.bars([each for each in lines if each.value is not None and each.target is not None])

    def bars(self, lines: Sequence[IndicatorLine]) -> None:
        """Values beside their targets, and how they came about where that is known."""
        for each in lines:
            shape, past = plots.bar(each, each.value), plots.trace(each)
            if shape is None:
                continue
            if self.pdf.will_page_break(7):
                self.pdf.add_page()
            y, left, wide = self.pdf.get_y(), MARGIN_MM + 80, 65.0
            self.pdf.set_font(size=8)
            self.pdf.set_text_color(31, 35, 40)
            self.pdf.set_xy(MARGIN_MM, y)
            self.pdf.cell(78, 5, self._short(f"{each.id} {each.title}", 77))
            self.pdf.set_fill_color(229, 232, 235)
            self.pdf.rect(left, y + 1, wide, 3, style="F")
            self.pdf.set_fill_color(*_rgb(COLOURS.get(each.state, "#546e7a")))
            self.pdf.rect(left, y + 1, shape.filled * wide, 3, style="F")
            if shape.target is not None:
                self.pdf.set_draw_color(31, 35, 40)
                self.pdf.line(left + shape.target * wide, y + 0.3, left + shape.target * wide, y + 4.7)
            if past is not None:
                self._trace(past, left + wide + 4, y)
            self.pdf.set_xy(MARGIN_MM, y + 6)

    def _trace(self, past: plots.Trace, left: float, y: float) -> None:
        wide, high = WIDTH_MM + MARGIN_MM - left, 5.0
        places = [(left + a * wide, y + high * (1 - b)) for a, b in past.points]
        self.pdf.set_draw_color(21, 101, 192)
        self.pdf.polyline(places)
        if past.target is not None:
            self.pdf.set_draw_color(31, 35, 40)
            level = y + high * (1 - past.target)
            self.pdf.set_dash_pattern(dash=1, gap=1)
            self.pdf.line(left, level, left + wide, level)
            self.pdf.set_dash_pattern()

    def _short(self, value: str, most_mm: float) -> str:
        text = self.text(value)
        while text and self.pdf.get_string_width(text) > most_mm:
            text = text[:-1]
        return text


def _clean(value: str, has_font: bool) -> str:
    text = _CONTROL.sub("", value)
    return text if has_font else text.encode("latin-1", "replace").decode("latin-1")
