"""Reports by command and over HTTP, and in a browser: on a phone's width, without any request, marks over the map."""

import base64
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.cli import main
from server.jobs.limits import Limits
from server.report import drawer
from server.settings import Settings
from tests.twin.supervision.indicator_city import box, made, point, towns
from twin.scope import Scope

ROOT = Path(__file__).resolve().parents[2]
PATH = "/processes/supervision-report/execution"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    layers = {
        "admin_unit": towns(),
        "lamp": [(str(i), point(10 * i, 5), {"smart": i < 8}) for i in range(10)],
        "building": [("B", shapely.MultiPolygon([box(100, 100, 130, 130)]), {})],
        "camera": [("秘密摄像机", point(700, 700), {"state": "正常"})],
        "reservoir": [("K1", shapely.MultiPolygon([box(1500, 1500, 1600, 1600)]), {"name": "云溪水库"})],
        "sensor": [("s", shapely.force_3d(point(0, 0)), {"state": "在线"})],
        "construction_site": [("G1", shapely.MultiPolygon([box(1400, 1400, 1700, 1700)]), {})],
    }
    folder = tmp_path_factory.mktemp("report_twin")
    made(folder, layers).close()
    return folder


def citytwin(*arguments):
    command = [sys.executable, "-m", "server.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = citytwin("report", folder, "--html", out / "r.html", "--pdf", out / "r.pdf", "--language", "en")
    assert done.returncode == 0, done.stderr
    return done, out


def test_the_command_writes_both_files_and_tells_the_counts(written):
    done, out = written
    page = (out / "r.html").read_text("utf8")
    assert (out / "r.pdf").read_bytes().startswith(b"%PDF-")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Construction sites", "Water", "Natural resources, one map"]
    fails = [int(re.search(r"([\d,]+) fail", line)[1].replace(",", "")) for line in lines]
    assert f"<b>{sum(fails):,}</b>fail" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give --html FILE or --pdf FILE"),
        (["--html", "x.html", "--language", "fr"], "not zh or en"),
        (["fire", "--html", "x.html"], "There is no supervision 'fire'"),
        (["--html", "x.html", "--bbox", "1,2,3"], "not four numbers"),
        (["--html", "x.html", "--bbox", "3,0,1,1"], "bbox is no box"),
        (["--html", "x.html", "--site", "nowhere"], "site: there is no construction_site"),
        (["--html", "x.html", "--kept", "--site", "G1"], "kept: kept findings"),
    ],
)
def test_wrong_arguments_are_one_sentence(folder, tmp_path, arguments, words, monkeypatch, capsys):
    given = [str(tmp_path / each) if each == "x.html" else each for each in arguments]
    monkeypatch.setattr(sys, "argv", ["citytwin", "report", str(folder), *given])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "x.html").exists()


def test_one_site_in_chinese(folder, tmp_path):
    path = tmp_path / "site.html"
    assert citytwin("report", folder, "water", "--site", "G1", "--html", path).returncode == 0
    page = path.read_text("utf8")
    assert "construction_site/G1" in page
    assert "云溪水库" in page
    assert "指标</h2>" not in page, "a site has no indicators"


@pytest.fixture(scope="module")
def ask(folder):
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=1))
    with twin.open(folder) as city, TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield lambda **inputs: session.post(PATH, json=inputs)


def test_over_http_a_page_and_a_pdf(ask):
    wanted = {"language": "en", "supervisions": ["water"], "formats": ["html"]}
    page = ask(inputs=wanted, outputs={"html": {}}, response="raw")
    assert page.status_code == 200, page.text[:300]
    assert page.headers["content-type"].startswith("text/html")
    assert "Supervision report" in page.text
    whole = ask(inputs=wanted | {"formats": ["pdf"]}).json()
    assert "html" not in whole
    told = whole["pdf"]
    assert base64.b64decode(told["value"] if isinstance(told, dict) else told).startswith(b"%PDF-")
    told = whole["sections"][0]
    assert told["n_findings"] == sum(told["counts"][name] for name in ("fail", "review", "unknown")) > 0


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"language": "fr"}, "language"),
        ({"formats": ["docx"]}, "formats"),
        ({"supervisions": ["fire"]}, "supervisions"),
        ({"most": 0}, "most"),
        ({"bbox": [5, 0, 1, 1]}, "bbox"),
        ({"bbox": [0, 0, 1, 1]}, "bbox"),
        ({"kept": True, "site": "G1"}, "kept"),
        ({"site": "G1", "bbox": [121.0, 28.1, 121.1, 28.2]}, "site"),
        ({"datetime": "someday"}, "someday"),
    ],
)
def test_wrong_inputs_are_a_400_that_names_them(ask, inputs, name):
    answer = ask(inputs=inputs)
    assert answer.status_code == 400, answer.text[:300]
    assert name in answer.json()["detail"]


def test_who_may_not_see_a_layer_finds_nothing_of_it_in_the_report(folder):
    with twin.open(folder) as city:
        seen = frozenset(info.id for info in city.layers if info.id != "camera")
        found = city.with_scope(Scope("guest", seen)).run(
            "supervision-report", supervisions=["one-map"], formats=["html"], language="zh"
        )
        text = found["html"].path.read_text("utf8")
        assert "秘密摄像机" not in text
        assert "缺少图层 camera" in text


def test_the_map_is_drawn_in_the_citys_style(folder):
    with twin.open(folder) as city:
        bounds = tuple(shapely.bounds(box(0, 0, 300, 200)))
        picture = Image.open(BytesIO(drawer(city)(bounds, 600, 400))).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (400, 600, 3)
    inside, outside = pixels[400 - 230, 230], pixels[400 - 300, 400]
    assert np.abs(inside - outside).max() > 10, "the building is seen"


@pytest.mark.client
def test_on_a_phone_nothing_overflows_and_nothing_is_asked_for(written, chromium):
    _, out = written
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((out / "r.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [each for each in asked if not each.startswith(("file:", "data:"))] == []
    assert page.evaluate("getComputedStyle(document.querySelector('table.rows thead')).display") == "none"
    page.set_viewport_size({"width": 1200, "height": 800})
    assert page.evaluate("getComputedStyle(document.querySelector('table.rows thead')).display") != "none"
    images = page.evaluate("[...document.querySelectorAll('image')].map(each => each.getBoundingClientRect().width)")
    assert images
    assert min(images) > 500
    page.close()


@pytest.mark.client
def test_printed_it_is_pages_of_paper(written, chromium):
    _, out = written
    page = chromium.new_page()
    page.goto((out / "r.html").as_uri())
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type /Page\b", printed)) >= 4, "each supervision begins on a page of its own"
    page.close()
