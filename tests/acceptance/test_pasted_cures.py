"""The lines that a refusal offers for city.toml cure it when they are pasted."""

import json
import re

import pytest
import shapely
from geopandas import GeoDataFrame

import twin

CITY = ('crs = "EPSG:4549"', 'vertical_crs = "EPSG:5737"', "origin = [121.4, 37.5]")
E0, N0 = 623_800.0, 4_152_900.0
# the official series at 121.4 E 37.5 N, central meridian 120 E: 623798.842 E, 4152922.991 N


def point(path, x, y, crs):
    GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(x, y)], crs=crs).to_file(path)


def geojson(path, x, y):
    shape = {"type": "Point", "coordinates": [x, y]}
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": shape}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf8")


CASES = {
    "degrees in a table": (lambda folder: (folder / "poi.csv").write_text("name,lon,lat\na,121.4,37.5\n", "utf8"),
                           (623798.842, 4152922.991)),
    "north before east": (lambda folder: point(folder / "poi.gpkg", N0, E0, "EPSG:4549"), (E0, N0)),
    "zone number": (lambda folder: point(folder / "poi.gpkg", 40e6 + E0, N0, "EPSG:4549"), (E0, N0)),
    "latitude first": (lambda folder: geojson(folder / "poi.geojson", 37.5, 121.4), (623798.842, 4152922.991)),
    "metres in GeoJSON": (lambda folder: geojson(folder / "poi.geojson", E0, N0), (E0, N0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_lines_of_a_refusal_cure_it(folder, case):
    write, place = CASES[case]
    write(folder.files)
    folder.toml(*CITY)
    (report,) = folder.build().reports
    assert report.status == "parked"
    (hint,) = [issue.hint for issue in report.issues if issue.severity == "error"]
    (lines,) = re.findall(r"\[\[source\]\]\n(?:\w+ = .+\n?)+", hint)
    folder.toml(*CITY, lines)
    (report,) = folder.build().reports
    assert report.status == "stored", [issue.message for issue in report.issues]
    with twin.open(folder.twin) as city:
        found = city["poi"].query().geometry.iloc[0]
    assert (found.x, found.y) == pytest.approx(place, abs=0.001)
