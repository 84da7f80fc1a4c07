"""Oracle: PROJ's own `topocentric` conversion (EPSG method 9837), and the `egm96` package asked directly."""

import numpy as np
import pytest
from egm96 import undulation
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from layers import heights
from layers.errors import InvalidInput
from layers.frame import CityFrame

LON, LAT, H = 121.0, 28.1, 14.0


def proj_enu(lon, lat, h):
    pipeline = Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart +ellps=WGS84 "
        f"+step +proj=topocentric +ellps=WGS84 +lon_0={LON} +lat_0={LAT} +h_0={H}"
    )
    return np.stack(pipeline.transform(lon, lat, h), axis=-1)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-100, 3000))
def test_enu_agrees_with_proj(dlon, dlat, h):
    frame = CityFrame("EPSG:4549", heights.Constant(0.0), LON, LAT, H)
    point = np.array([LON + dlon]), np.array([LAT + dlat]), np.array([h])
    assert np.allclose(frame.geodetic_to_enu(*point), proj_enu(*point), rtol=0, atol=1e-6)


def test_city_coordinates_reach_the_frame_with_their_undulation():
    frame = CityFrame("EPSG:4549", heights.Egm96(), LON, LAT, H)
    enh = np.array([[598273.711, 3109927.739, 5.0]])  # control point of EPSG:4549 for 121.0 E 28.1 N
    n = float(undulation(LAT, LON))
    assert np.allclose(frame.to_enu(enh), [[0, 0, 5.0 + n - H]], atol=2e-3)


def test_the_root_transform_puts_the_origin_on_the_ellipsoid():
    frame = CityFrame("EPSG:4549", heights.Constant(0.0), LON, LAT, H)
    matrix = np.array(frame.root_transform).reshape(4, 4).T
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    assert np.allclose(matrix[:3, 3], to_ecef.transform(LON, LAT, H), atol=1e-6)
    up = np.array(to_ecef.transform(LON, LAT, H + 100)) - matrix[:3, 3]
    assert np.allclose(matrix[:3, 2], up / 100, atol=1e-9)
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)


def test_a_grid_is_read_bilinearly_and_not_beyond_its_edge(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    values = np.add.outer(np.arange(4) * -10.0, np.arange(5) * 1.0)  # N = column - 10 * row
    path = tmp_path / "n.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=5, height=4, count=1, dtype="float64", crs="EPSG:4490",
        transform=from_origin(120, 30, 0.5, 0.5),
    ) as out:  # fmt: skip
        out.write(values, 1)
    model = heights.from_setting({"grid": "n.tif"}, tmp_path)
    # cell centres are at 120.25 + 0.5 column, 29.75 - 0.5 row
    assert model.undulation_m(np.array([120.75]), np.array([29.25])) == pytest.approx([1 - 10])
    assert model.undulation_m(np.array([121.0]), np.array([29.5])) == pytest.approx([1.5 - 5])
    with pytest.raises(InvalidInput):
        model.undulation_m(np.array([119.0]), np.array([29.5]))


@pytest.mark.parametrize(
    "setting", [None, "egm2008", {"constant_m": "x"}, {"constant_m": 1e6}, {"constant_m": 1, "grid": "g"}]
)
def test_a_height_model_that_makes_no_sense_is_refused(setting, tmp_path):
    with pytest.raises(InvalidInput):
        heights.from_setting(setting, tmp_path)
