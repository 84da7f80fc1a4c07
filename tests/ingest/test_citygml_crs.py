"""Names of coordinate systems and the order of axes: each spelling by hand, each order by where the place is."""

import pytest
import shapely

from ingest.citygml import reader as citygml
from ingest.citygml.crs import fits, is_swapped, understand
from layers.errors import InvalidInput
from layers.source import Hints
from tests.ingest.test_citygml import document, polygon, rows, save, thing
from tests.ingest.test_citygml import multi as surfaces


@pytest.mark.parametrize(
    ("stated", "name", "legacy", "north_first"),
    [
        ("urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783", "EPSG:25832+5783", False, False),
        ("urn:ogc:def:crs,crs:EPSG:6.12:3068,crs:EPSG:6.12:5783", "EPSG:3068+5783", False, True),
        ("urn:ogc:def:crs:EPSG::4549", "EPSG:4549", False, True),
        ("urn:ogc:def:crs:EPSG:25832", "EPSG:25832", False, False),
        ("http://www.opengis.net/def/crs/EPSG/0/6697", "EPSG:6668+6695", False, True),
        (
            "http://www.opengis.net/def/crs-compound?1=http://www.opengis.net/def/crs/EPSG/0/25832"
            "&2=http://www.opengis.net/def/crs/EPSG/0/7837",
            "EPSG:25832+7837", False, False,
        ),
        ("EPSG:4326", "EPSG:4326", True, True),
        ("EPSG:25832,EPSG:5783", "EPSG:25832+5783", True, False),
        ("http://www.opengis.net/gml/srs/epsg.xml#4326", "EPSG:4326", True, True),
        ("urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH", "EPSG:25832+7837", False, False),
        ("urn:adv:crs:ETRS89_UTM33", "EPSG:25833", False, False),
    ],
)  # fmt: skip
def test_spellings(stated, name, legacy, north_first):
    found = understand(stated)
    assert (found.crs, found.is_legacy, found.north_first) == (name, legacy, north_first)


@pytest.mark.parametrize("stated", ["urn:adv:crs:DE_MOON", "Local 1", "urn:ogc:def:crs:EPSG::999999", "x" * 30_000])
def test_what_is_no_system_is_refused(stated):
    with pytest.raises(InvalidInput):
        understand(stated)


@pytest.mark.parametrize(
    ("stated", "box", "north_first", "codes"),
    [
        ("urn:ogc:def:crs:EPSG::4326", (35.0, 139.0, 36.0, 140.0), True, []),
        ("EPSG:4326", (35.0, 139.0, 36.0, 140.0), True, ["AXIS_ORDER_ASSUMED"]),  # 139° is no latitude
        ("EPSG:4326", (139.0, 35.0, 140.0, 36.0), False, ["AXIS_ORDER_ASSUMED"]),
        ("EPSG:4326", (48.0, 2.0, 49.0, 3.0), False, ["AXIS_ORDER_ASSUMED"]),  # both fit: the custom, and a warning
        ("EPSG:25832", (458868.0, 5438343.0, 458892.0, 5438362.0), False, []),
        ("EPSG:4549", (3109000.0, 597000.0, 3109100.0, 597100.0), True, ["AXIS_ORDER_ASSUMED"]),
        ("EPSG:4549", (597000.0, 3109000.0, 597100.0, 3109100.0), False, ["AXIS_ORDER_ASSUMED"]),
    ],
)
def test_the_order_of_axes(stated, box, north_first, codes):
    swapped, issues = is_swapped(understand(stated), box, Hints(), "a.gml")
    assert (swapped, [each.code for each in issues]) == (north_first, codes)
    if "48.0" in str(box):
        assert issues[0].severity == "warning"


def test_fits():
    assert fits("EPSG:4549", (3109000.0, 597000.0, 3109100.0, 597100.0), north_first=True)
    assert not fits("EPSG:4549", (3109000.0, 597000.0, 3109100.0, 597100.0), north_first=False)
    assert fits("EPSG:4549", None, north_first=False)


def test_a_short_name_lands_in_tokyo_whichever_way_it_is_written(tmp_path):
    for first, second in ((35.68, 139.71), (139.71, 35.68)):
        ring = [(second, first, 3.0), (second + 1e-4, first, 3.0), (second + 1e-4, first + 1e-4, 3.0)]
        member = thing("landuse:LandUse", "lod1MultiSurface", surfaces([polygon(ring)]), "a")
        reading = citygml.read(save(tmp_path, document([member], srs="EPSG:4326")), Hints())
        [(_, _, _, shape, _)] = rows(reading.layers[0])
        assert shapely.Point(139.71, 35.68).distance(shape) < 1e-6
        assert "AXIS_ORDER_ASSUMED" in [each.code for each in reading.issues]


def test_coordinates_that_cannot_be_in_the_system_are_refused(tmp_path):
    ring = [
        (3109000.0, 597000.0, 3.0),
        (3109010.0, 597000.0, 3.0),
        (3109010.0, 597010.0, 3.0),
    ]  # east and north swapped
    member = thing("landuse:LandUse", "lod1MultiSurface", surfaces([polygon(ring)]), "a")
    path = save(tmp_path, document([member]))
    with pytest.raises(InvalidInput) as caught:
        citygml.read(path, Hints())
    assert caught.value.code == "COORDINATES_OUTSIDE_CRS"
    assert "swap-axes" in caught.value.hint
