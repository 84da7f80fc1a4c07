"""Heights with another unit, sign or datum; hand arithmetic."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers.certificate import Certificate
from layers.errors import Unplaceable
from layers.frame import CityFrame
from layers.heights import Constant
from layers.source import FeatureBatch
from twin.fuse.datum import vertical_step
from twin.fuse.place import certify, placement

CITY = "EPSG:5737"
MODEL = Constant(12.0)


def axis(direction, metres, datum="Yellow Sea 1985"):
    return f'VERTCRS["told",VDATUM["{datum}"],CS[vertical,1],AXIS["axis",{direction}],LENGTHUNIT["unit",{metres}]]'


def height(stated, z):
    step = vertical_step("EPSG:4549", stated, CITY, MODEL)
    return float(step.normal_m(np.array([121.0]), np.array([28.1]), np.array([z]))[0])


@pytest.mark.parametrize(
    ("stated", "z", "expected"),
    [
        (axis("up", 0.3048), 100.0, 30.48),
        (axis("down", 1), 3.5, -3.5),
        (axis("down", 0.3048), 10.0, -3.048),
        ("EPSG:4979", 20.0, 8.0),
        (CITY, 7.0, 7.0),
    ],
)
def test_unit_and_direction_of_the_stated_axis(stated, z, expected):
    assert height(stated, z) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stated", ["EPSG:5736", axis("up", 0.3048, "Yellow Sea 1956"), "EPSG:5612"])
def test_another_datum_is_refused_not_assumed(stated):
    with pytest.raises(Unplaceable) as caught:
        vertical_step("EPSG:4549", stated, CITY, MODEL)
    assert caught.value.code == "VERTICAL_DATUM"


def test_elevations_of_attributes_move_with_z_and_a_row_without_place_is_told():
    frame = CityFrame("EPSG:4549", MODEL, 121.0, 28.1)
    way = placement(frame, CITY, "EPSG:4490", "EPSG:4979")
    table = pa.table({"base_elev_m": [20.0, None, 30.0], "height_m": [9.0, 9.0, 9.0]})
    geometry = np.array([shapely.Point(121, 28.1, 20), shapely.Point(121, 28.1), None], dtype=object)
    out, left = way.elevations(table, FeatureBatch(["a", "b", "c"], geometry, table, [None] * 3))
    assert out["base_elev_m"].to_pylist() == [8.0, None, 30.0]
    assert out["height_m"].to_pylist() == [9.0, 9.0, 9.0]
    assert left.tolist() == [2]


def test_the_certificate_names_an_offset_that_was_told():
    frame = CityFrame("EPSG:4549", MODEL, 121.0, 28.1)
    way = placement(frame, CITY, "EPSG:4549", None)
    read = Certificate("file-crs", "EPSG:4549", parameters={"vertical_offset_m": -12.5})
    assert "vertical: -12.5 m, as told, to reach EPSG:5737" in certify(read, way, CITY).transformation
