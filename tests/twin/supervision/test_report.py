"""Reports: what stands in them is what the run found; nothing from elsewhere; markup and odd names do no harm."""

import datetime as dt
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import shapely

from layers.catalogue import Title
from layers.errors import InvalidInput
from tests.twin.supervision.indicator_city import box, made, point, towns
from twin.supervision import engine, finding, history, report
from twin.supervision.check import Finding
from twin.supervision.report import base_map, fonts, gather, words
from twin.supervision.report.model import Picture
from twin.supervision.report.plots import bar, trace

NASTY = '<script>alert("1")</script> & “x” \x07 \U0001f3d7'
VOID = {"meta", "image", "rect", "path", "polyline", "circle", "br", "link", "img", "input"}


class Page(HTMLParser):
    """Reads a page: whether its tags match, its texts by tag, every address it names."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.addresses, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "data", "poster"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag):
        return [text for name, text in self.texts if name == tag]


def pdf_text(data):
    """Text of a PDF with fonts that map to Unicode, page after page: streams unpacked, codes looked up."""
    objects = dict(re.findall(rb"(\d+) 0 obj\n(.*?)endobj", data, re.DOTALL))

    def stream(content):
        found = re.search(rb"stream\r?\n(.*)\r?\nendstream", content, re.DOTALL)
        packed = found[1]
        return zlib.decompress(packed) if b"FlateDecode" in content else packed

    maps = {}
    for content in objects.values():
        if b"ToUnicode" in content:
            table = stream(objects[re.search(rb"/ToUnicode (\d+)", content)[1]])
            for code, text in re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>\n", table):
                maps[int(code, 16)] = bytes.fromhex(text.decode()).decode("utf-16-be")
    pages = []
    for content in objects.values():
        if b"stream" not in content or b"/Subtype /Image" in content or b"Length1" in content:
            continue
        text = stream(content)
        if b" Tf" not in text:
            continue
        made_ = []
        for raw in re.findall(rb"\(((?:\\.|[^\\()])*)\) ?(?:Tj|\])", text, re.DOTALL):
            plain = re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), raw, flags=re.DOTALL)
            codes = np.frombuffer(plain[: len(plain) // 2 * 2], ">u2") if maps else np.frombuffer(plain, "u1")
            made_.append("".join(maps.get(int(code), "") if maps else chr(code) for code in codes))
        pages.append("".join(made_))
    return pages


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "admin_unit": towns(),
        "lamp": [(str(i), point(10 * i, 5), {"smart": i < 8}) for i in range(10)],
        "reservoir": [
            ("K1", box(1500, 1500, 1600, 1600), {"name": NASTY.replace("\x07", "")}),
            ("K2", box(0, 0, 9, 9), {}),
        ],
        "sensor": [("s", shapely.force_3d(point(0, 0)), {"state": "在线"})],
        "building": [("B", shapely.MultiPolygon([box(100, 100, 130, 130)]), {})],
    }
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


@pytest.fixture(scope="module")
def runs(city):
    return [
        engine.run(city, "water", checks=["monitored-facilities"]),
        engine.run(city, "one-map", checks=["indicator-targets"]),
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_says_what_the_runs_found(city, runs, language):
    told = report.from_runs(city, runs, language, base_map.drawer(city))
    page = Page(report.html(told))
    assert page.open == []
    assert told.counts == {name: sum(run.counts()[name] for run in runs) for name in told.counts}
    numbers = [int(text.replace(",", "")) for text in page.of("b")[:4]]
    assert numbers == [told.counts[name] for name in ("fail", "review", "unknown", "pass")]
    assert words.word("report", language) in page.of("h1")[0]
    assert len(page.of("circle")) == 0
    n_places = sum(1 for section in told.sections for each in section.entries if each.place)
    assert page.tags.count("circle") == n_places > 0
    tags = [
        text for text in page.of("span") if text in {words.word(v, language) for v in ("fail", "review", "unknown")}
    ]
    listed = [words.word(each.verdict, language) for section in told.sections for each in section.entries]
    for word in set(listed):
        assert tags.count(word) >= listed.count(word)
    assert len(told.indicators) >= 20
    assert "80%" in page.of("div")


def test_the_page_takes_nothing_from_elsewhere_and_runs_nothing(city, runs):
    text = report.html(report.from_runs(city, runs, "zh", base_map.drawer(city)))
    page = Page(text)
    assert all(each.startswith("data:image/png;base64,") for each in page.addresses)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", text))
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert "@import" not in text
    assert "url(" not in text
    assert 'name="viewport"' in text


def test_markup_in_names_stays_text(city, runs):
    told = report.from_runs(city, runs, "zh", None)
    text = report.html(told)
    assert "<script>" not in text
    assert any("<script>alert" in each for _, each in Page(text).texts)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pdf_has_the_same_words_and_numbers(city, runs, language):
    if fonts.path() is None:
        pytest.skip("no font with Chinese glyphs is installed")
    told = report.from_runs(city, runs, language, base_map.drawer(city))
    data = report.pdf(told)
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    pages = pdf_text(data)
    text = "".join(pages)
    squeezed = re.sub(r"\s", "", text)
    for name, n in told.counts.items():
        assert f"{n:,}" in text, name
        assert re.sub(r"\s", "", words.word(name, language)) in squeezed
    for section in told.sections:
        assert re.sub(r"\s", "", section.title) in squeezed
        for each in section.entries[:5]:
            assert re.sub(r"\s", "", each.rule) in squeezed
    assert len(re.findall(rb"/Type /Page\b", data)) >= 1 + len(told.sections)


def test_without_a_font_a_chinese_pdf_is_refused_and_an_english_one_says_what_it_lacks(city, runs, monkeypatch):
    monkeypatch.setattr(fonts, "path", lambda: None)
    with pytest.raises(InvalidInput, match="language: No font with Chinese glyphs") as refused:
        report.pdf(report.from_runs(city, runs, "zh", None))
    assert "CITYTWIN_FONT" in str(refused.value)
    data = report.pdf(report.from_runs(city, runs, "en", None))
    text = "".join(pdf_text(data))
    assert "Chinese is shown as ?" in text
    assert "Supervision report" in text


def test_marks_lie_where_the_findings_are(city, runs):
    told = report.from_runs(city, runs, "en", base_map.drawer(city))
    section = told.sections[0]
    west, south, east, north = section.picture.bounds
    assert (east - west) / (north - south) == pytest.approx(section.picture.width / section.picture.height)
    for each in section.entries:
        x, y = section.picture.position(each.place)
        assert each.place[0] == pytest.approx(west + x / section.picture.width * (east - west))
        assert each.place[1] == pytest.approx(north - y / section.picture.height * (north - south))
        assert 0 < x < section.picture.width
        assert 0 < y < section.picture.height
    assert Picture(b"", (0, 0, 10, 10), 100, 100).position((2, 9)) == (20, 10)


def test_the_plain_map_has_a_building_where_it_stands(city):
    from io import BytesIO

    from PIL import Image

    bounds = tuple(shapely.bounds(box(0, 0, 300, 200)))
    picture = np.asarray(Image.open(BytesIO(base_map.plain(city, bounds, 600, 400))).convert("RGB")).astype(int)
    assert picture.shape == (400, 600, 3)
    paper = np.array([0xF6, 0xF5, 0xF1])
    assert np.abs(picture[400 - 230, 230] - [0xDD, 0xD5, 0xC8]).max() <= 2, "in the middle of the building"
    assert np.abs(picture[400 - 300, 400] - paper).max() <= 2


def test_the_worst_comes_first_and_what_is_not_listed_is_counted(city, runs):
    told = report.from_runs(city, runs, "en", None, most=3)
    section = told.sections[1]
    assert [each.number for each in section.entries] == [1, 2, 3]
    assert section.entries[0].verdict == "fail"
    left = section.n_entries - 3
    assert left > 0
    assert f"{left} more are not listed" in report.html(told)


def test_a_place_has_no_indicators_and_is_named(city):
    region = box(1400, 1400, 1700, 1700)
    told = report.from_runs(city, [engine.run(city, "water", region=region)], "en", None)
    assert told.indicators == []
    assert told.place == "599400, 3110400 – 599700, 3110700"


def test_kept_findings_with_their_status_and_none_that_is_closed(city):
    run = engine.run(city, "water", checks=["monitored-facilities"])
    finding.store(city, run)
    told = report.from_kept(city, ["water", "one-map"], "en")
    assert [each.n_entries for each in told.sections] == [1, 0]
    entry = told.sections[0].entries[0]
    assert (entry.status, entry.objects, entry.verdict) == ("opened", "reservoir/K1", "review")
    assert entry.measured == pytest.approx(run.findings[0].measured)
    assert "opened" in report.html(told)
    finding.set_status(city, [finding.finding_id(run.supervision, run.findings[0])], "closed", "test")
    assert report.from_kept(city, ["water"], "en").sections[0].n_entries == 0


def test_a_report_of_a_city_without_anything(tmp_path):
    with made(tmp_path / "bare", {"lamp": [("a", None, {"smart": None})]}) as bare:
        told = report.from_runs(bare, [engine.run(bare, "construction")], "en", base_map.drawer(bare))
        assert told.sections[0].picture is None
        Page(report.html(told))
        if fonts.path() is not None:
            assert report.pdf(told).startswith(b"%PDF-")


def test_history_is_drawn_and_the_forecast_told(tmp_path):
    lamps = [(str(i), point(10 * i, 5), {"smart": i < 8}) for i in range(10)]
    with made(tmp_path / "past", {"admin_unit": towns(), "lamp": lamps}) as past:
        from dataclasses import replace

        from twin.supervision.indicators import Source, evaluate, load, of_city

        zones = of_city(Source(past))
        value = evaluate(load()["I-06"], Source(past), zones)
        for back, number in ((300, 50.0), (200, 60.0), (100, 70.0)):
            old = replace(value, city=replace(value.city, value=number), zones=[])
            history.record(past, [old], zones, history.today() - dt.timedelta(days=back))
        told = report.from_runs(past, [engine.run(past, "water", checks=["monitored-facilities"])], "en", None)
        line = next(each for each in told.indicators if each.id == "I-06")
        expected = (history.today() + dt.timedelta(days=100)).isoformat()
        assert line.forecast == f"expected on {expected} ({expected} at the earliest, {expected} at the latest)"
        shape = trace(line)
        assert shape.points == [(0.0, 0.0), (0.5, pytest.approx(0.25)), (1.0, pytest.approx(0.5))]
        assert shape.target == 1.0
        text = report.html(told)
        assert text.count("<polyline") == 1
        assert expected in text
        if fonts.path() is not None:
            report.pdf(told)


def test_bars_have_the_lengths_of_the_numbers():
    def line(unit, value, target):
        return gather.IndicatorLine("x", "x", unit, value, target, ">=", "ok", [])

    assert bar(line("pct", 80, 90), 80) == bar(line("pct", 80, 90), 80.0)
    share = bar(line("pct", 80, 90), 80)
    assert (share.filled, share.target) == (0.8, 0.9)
    metres = bar(line("m", 4000, 5000), 4000)
    assert (metres.filled, metres.target) == (pytest.approx(0.64), pytest.approx(0.8))
    assert bar(line("m", None, 5), None) is None
    assert bar(line("", 0, None), 0).filled == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (5336, "5,336"), (0.0, "0"), (77.35187, "77.35"), (1088999.05, "1,088,999.1"), (0.15, "0.15"),
     (0.000245, "0.000245"), (7.0e-05, "0.00007"), (0.0123456, "0.012"), (-3.0, "-3"), (2.0004, "2"), (0.9996, "1")],
)  # fmt: skip
def test_numbers_are_written_with_the_digits_that_count(value, text):
    assert words.number(value) == text


def test_every_word_is_there_in_both_languages():
    assert words.word("fail", "zh") == "不合格"
    for key in words._WORDS:
        assert words.word(key, "zh")
        assert words.word(key, "en")


def test_an_entry_without_a_place_or_numbers():
    found = Finding("r", ("city",), "unknown", None, None, "", None, Title("零", "none"), "c", "s", "low")
    entry = gather._entry(found, None, "en")
    assert (entry.place, entry.measured, entry.title) == (None, None, "none")
