"""Placement of IFC models: against hand arithmetic, IfcOpenShell's own geolocation and the convergence series."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ifcopenshell.util import geolocation

from ingest.ifc import georef as ifc_georef
from layers import crs
from layers.errors import Unplaceable
from layers.source import Hints

CITY = Hints(city_crs="EPSG:4549")
E0, N0 = 598273.822, 3109580.649


def facts(**changes):
    """A model in millimetres near its own origin that says nothing about its place."""
    return {
        "unit_m": 0.001,
        "conversions": [],
        "sites": [],
        "samples": [(0.0, 0.0, 0.0), (20000.0, 10000.0, 3000.0)],
        "probes": [],
        "storey_elevations": [0.0, 3600.0],
        "true_north": None,
        "world_system": None,
    } | changes


def conversion(map_unit_m=1.0, name="EPSG:4549", **changes):
    crs_facts = {
        "name": name,
        "description": None,
        "vertical_datum": "EPSG:5737",
        "map_unit_m": map_unit_m,
        "wkt": None,
    }
    return {
        "kind": "IfcMapConversion",
        "context": "Model",
        "crs": crs_facts,
        "eastings": E0,
        "northings": N0,
        "height": 5.6,
        "abscissa": 1.0,
        "ordinate": 0.0,
        "scale": 0.001,
        "factors": [None, None, None],
    } | changes


def site(lat, lon, elevation=0.0, origin=(0.0, 0.0, 0.0)):
    return {"guid": "site", "lat_deg": lat, "lon_deg": lon, "elevation": elevation, "origin": origin}


def put(model, local_m, hints=CITY):
    placed = ifc_georef.place(model, hints)
    return placed, placed.to_map(np.array([local_m], float))[0]


def test_a_turned_model_in_millimetres_by_hand():
    # cos 30 = 0.8660254, sin 30 = 0.5; x = 10 m, y = 4 m, z = 3 m
    model = facts(conversions=[conversion(abscissa=math.sqrt(3), ordinate=1.0)])  # not normalised in the file
    placed, at = put(model, (10, 4, 3))
    assert at == pytest.approx([E0 + 8.660254037844386 - 2.0, N0 + 5.0 + 3.4641016151377544, 8.6], abs=1e-6)
    assert (placed.crs, placed.vertical_crs) == ("EPSG:4549", "EPSG:5737")
    assert placed.certificate.method == "map-conversion"
    assert placed.certificate.contradictions == ()


angle = st.floats(-math.pi, math.pi)
coordinate = st.floats(-5000, 5000)


@settings(deadline=None)
@given(angle, coordinate, coordinate, st.floats(-50, 300), st.sampled_from([1.0, 0.9996, 1.0004]))
def test_any_map_conversion_agrees_with_ifcopenshell(turn, x, y, z, grid_scale):
    written = conversion(abscissa=3 * math.cos(turn), ordinate=3 * math.sin(turn), scale=0.001 * grid_scale)
    _, at = put(facts(conversions=[written]), (x, y, z))
    theirs = geolocation.xyz2enh(
        x * 1000, y * 1000, z * 1000, E0, N0, 5.6, math.cos(turn), math.sin(turn), scale=0.001 * grid_scale
    )
    assert at == pytest.approx(theirs, abs=1e-6)


def test_millimetres_and_metres_land_on_the_same_spot():
    in_mm = put(facts(conversions=[conversion()]), (12.5, 7.25, 3))[1]
    metres = facts(unit_m=1.0, storey_elevations=[0, 3.6], samples=[(0, 0, 0)], conversions=[conversion(scale=1.0)])
    assert put(metres, (12.5, 7.25, 3))[1] == pytest.approx(in_mm, abs=1e-9)


def test_a_foot_project_on_a_metre_map():
    feet = facts(unit_m=0.3048, storey_elevations=[0, 12], conversions=[conversion(scale=0.3048)])
    assert put(feet, (30.48, 0, 0))[1] == pytest.approx([E0 + 30.48, N0, 5.6], abs=1e-9)


def test_a_map_unit_of_millimetres_scales_the_offset_too():
    model = facts(
        conversions=[conversion(map_unit_m=0.001, eastings=E0 * 1000, northings=N0 * 1000, height=5600.0, scale=1.0)]
    )
    assert put(model, (1, 2, 3))[1] == pytest.approx([E0 + 1, N0 + 2, 8.6], abs=1e-6)


def test_a_crs_in_feet_gets_its_coordinates_in_feet():
    # EPSG:2263, New York Long Island, US survey feet; map unit of the file: metres
    foot = 1200 / 3937
    model = facts(conversions=[conversion(name="EPSG:2263", eastings=300000.0, northings=60000.0)])
    placed, at = put(model, (10, 0, 5))
    assert at == pytest.approx([300010 / foot, 60000 / foot, 10.6], abs=1e-6)
    assert placed.crs_unit_m == pytest.approx(foot)


@pytest.mark.parametrize(
    ("scale", "map_unit_m", "words"),
    [
        (None, 1.0, "without the change of unit"),
        (1.0, 1.0, "without the change of unit"),
        (1000.0, 1.0, "upside down"),
        (None, None, "without the change of unit"),
        (0.001, None, "units of EPSG:4549"),
    ],
)
def test_a_scale_against_the_letter_is_used_and_named(scale, map_unit_m, words):
    placed, at = put(facts(conversions=[conversion(scale=scale, map_unit_m=map_unit_m)]), (10, 0, 0))
    assert at == pytest.approx([E0 + 10, N0, 5.6], abs=1e-6)
    assert len(placed.certificate.contradictions) == 1
    assert words in placed.certificate.contradictions[0]


def test_factors_of_a_scaled_conversion_act_on_each_axis():
    placed, at = put(facts(conversions=[conversion(factors=[0.9998, 0.9998, 1.0])]), (1000, 0, 10))
    assert at == pytest.approx([E0 + 999.8, N0, 15.6], abs=1e-6)
    assert placed.certificate.parameters["factors"] == [0.9998, 0.9998, 1.0]


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (facts(), "IFC_NO_GEOREFERENCE"),
        (facts(conversions=[conversion(eastings=None)]), "IFC_NO_GEOREFERENCE"),
        (facts(conversions=[conversion(abscissa=0.0, ordinate=0.0)]), "IFC_NO_GEOREFERENCE"),
        (facts(conversions=[conversion(scale=0.3)]), "IFC_SCALE_UNCLEAR"),
        (facts(conversions=[conversion(scale=-1.0)]), "IFC_SCALE_UNCLEAR"),
        (facts(conversions=[conversion(name="Local grid of the works")]), "IFC_CRS_UNKNOWN"),
        (facts(conversions=[conversion(name="EPSG:4490")]), "IFC_CRS_UNKNOWN"),
        (facts(conversions=[conversion(eastings=0.0, northings=0.0)]), "IFC_DEFAULT_POSITION"),
        (facts(conversions=[conversion(eastings=N0, northings=E0)]), "IFC_OUT_OF_AREA"),
        (facts(conversions=[conversion()], samples=[(E0 * 1000, N0 * 1000, 0)]), "IFC_DOUBLED_OFFSET"),
        (facts(conversions=[conversion()], probes=[(E0, N0, 0)]), "IFC_DOUBLED_OFFSET"),
        (facts(sites=[site(0.0, 0.0)]), "IFC_DEFAULT_POSITION"),
        (facts(sites=[site(42.3584, -71.0598)]), "IFC_DEFAULT_POSITION"),
        (facts(sites=[site(49.1, 8.4)]), "IFC_OUT_OF_AREA"),
        (facts(sites=[site(28.1, 121.0, None)]), "IFC_NO_SITE_ELEVATION"),
    ],
)
def test_what_has_no_true_place_is_refused_with_a_next_step(model, code):
    with pytest.raises(Unplaceable) as refused:
        ifc_georef.place(model, CITY)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_given_crs_serves_where_the_file_names_an_unknown_one():
    model = facts(conversions=[conversion(name="Local grid of the works")])
    placed, at = put(model, (1, 0, 0), Hints(city_crs="EPSG:4549", crs="EPSG:4549"))
    assert at[0] == pytest.approx(E0 + 1)
    assert "was given for it" in placed.certificate.contradictions[0]


def test_map_coordinates_in_the_model_need_only_a_crs():
    model = facts(unit_m=1.0, storey_elevations=[], samples=[(E0, N0, 5.0)])
    placed, at = put(model, (E0, N0, 5), Hints(city_crs="EPSG:4549", crs="EPSG:4549"))
    assert at == pytest.approx([E0, N0, 5])
    assert placed.certificate.method == "given-crs"
    with pytest.raises(Unplaceable):
        ifc_georef.place(facts(), Hints(crs="EPSG:4549"))  # a local model does not become one by a hint


@pytest.mark.parametrize("name", ["EPSG:4549", "epsg 4549", "urn:ogc:def:crs:EPSG::4549", "EPSG:4549 "])
def test_spellings_of_a_code(name):
    assert ifc_georef.place(facts(conversions=[conversion(name=name)]), CITY).crs == "EPSG:4549"


@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT2_2019"])
def test_well_known_text_goes_before_the_name(version):
    written = conversion(name="EPSG:4550")
    wkt = crs.parse("EPSG:4549+5737").to_wkt(version)
    written["crs"] |= {"wkt": wkt, "vertical_datum": None}
    placed = ifc_georef.place(facts(conversions=[written]), CITY)
    assert (placed.crs, placed.vertical_crs) == ("EPSG:4549", "EPSG:5737")
    assert "EPSG:4550" in placed.certificate.contradictions[0]


# --- latitude and longitude ---


def convergence_deg(lat_deg, dlon_deg):
    """Snyder 1987, Map Projections, 8-16 in series form; good to 1e-9 degrees here."""
    e2 = 2 / 298.257222101 - 1 / 298.257222101**2
    lat, dlon = math.radians(lat_deg), math.radians(dlon_deg)
    eta2 = e2 / (1 - e2) * math.cos(lat) ** 2
    third = dlon**3 / 3 * math.sin(lat) * math.cos(lat) ** 2 * (1 + 3 * eta2 + 2 * eta2**2)
    return math.degrees(dlon * math.sin(lat) + third)


@pytest.mark.parametrize(("lat", "lon"), [(28.1, 121.0), (28.1, 119.2), (40.0, 120.0)])
@pytest.mark.parametrize("true_north", [None, (0.0, 1.0), (0.5, math.sqrt(3) / 2)])
def test_true_north_and_convergence_turn_the_model(lat, lon, true_north):
    model = facts(sites=[site(lat, lon, 12000.0)], true_north=true_north)
    placed, at = put(model, (0, 100, 0))
    east, north = crs.transform("EPSG:4326", "EPSG:4549", np.array([lon]), np.array([lat]))
    # azimuth of local y, clockwise from true north, less the convergence: bearing on the grid
    azimuth = 0.0 if true_north is None else -math.degrees(math.atan2(true_north[0], true_north[1]))
    bearing = math.radians(azimuth - convergence_deg(lat, lon - 120))
    expected = [east[0] + 100 * math.sin(bearing), north[0] + 100 * math.cos(bearing), 12.0]
    assert at == pytest.approx(expected, abs=1e-4)
    assert placed.certificate.method == "site-lat-lon"


def test_the_reference_point_is_the_origin_of_the_site():
    far = (114_502_766.0, 1_185_944_009.0, 500.0)
    model = facts(sites=[site(28.1, 121.0, 5000.0, far)], samples=[far])
    at = put(model, np.array(far) / 1000)[1]
    east, north = crs.transform("EPSG:4326", "EPSG:4549", np.array([121.0]), np.array([28.1]))
    assert at == pytest.approx([east[0], north[0], 5.0], abs=1e-5)


def test_a_site_without_elevation_takes_the_given_one():
    model = facts(sites=[site(28.1, 121.0, None)])
    at = put(model, (0, 0, 0), Hints(city_crs="EPSG:4549", values={"site_elev_m": 7.5}))[1]
    assert at[2] == 7.5


# --- contradictions ---


def test_site_and_map_conversion_that_disagree_are_both_named():
    lon, lat = crs.transform("EPSG:4549", "EPSG:4326", np.array([E0 + 3000]), np.array([N0]))
    model = facts(conversions=[conversion()], sites=[site(float(lat[0]), float(lon[0]), 5600.0)])
    placed = ifc_georef.place(model, CITY)
    assert placed.certificate.parameters["site_distance_m"] == pytest.approx(3000, abs=0.01)
    assert "3000 m" in placed.certificate.contradictions[0]


def test_a_north_that_contradicts_the_x_axis_is_named():
    lon, lat = crs.transform("EPSG:4549", "EPSG:4326", np.array([E0]), np.array([N0]))
    at = site(float(lat[0]), float(lon[0]), 5600.0)
    agreeing = math.radians(convergence_deg(at["lat_deg"], at["lon_deg"] - 120))
    straight = facts(conversions=[conversion()], sites=[at], true_north=(-math.sin(agreeing), math.cos(agreeing)))
    assert ifc_georef.place(straight, CITY).certificate.contradictions == ()
    turned = facts(conversions=[conversion()], sites=[at], true_north=(-0.5, math.sqrt(3) / 2))
    assert "TrueNorth" in ifc_georef.place(turned, CITY).certificate.contradictions[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"storey_elevations": [0.0, 3.6, 7.2]}, "Storeys are 0.0036 m apart"),
        ({"storey_elevations": [0.0, 1500.0, 3000.0]}, "Storeys are 1.5 m apart"),
        ({"storey_elevations": [0.0, 11000.0]}, "Storeys are 11 m apart"),
        ({"samples": [(0, 0, 0), (30e6, 0, 0)]}, "spread over 30 km"),
        ({"samples": [(0, 0, 0), (1.2e6, 0, 0)], "n_buildings": 1}, "spread over 1.2 km"),
        ({"world_system": [[1, 0, 0, 1000], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "WorldCoordinateSystem"),
    ],
)
def test_sizes_and_frames_that_cannot_be_right_are_named(changes, words):
    placed = ifc_georef.place(facts(conversions=[conversion()], **changes), CITY)
    assert any(words in sentence for sentence in placed.certificate.contradictions)


@pytest.mark.parametrize(
    "changes",
    [
        {"storey_elevations": [0.0, 2000.0]},
        {"storey_elevations": [0.0, 10000.0]},
        {"samples": [(0, 0, 0), (0.99e6, 0, 0)], "n_buildings": 1},
        {"samples": [(0, 0, 0), (15e6, 0, 0)]},
    ],
)
def test_sizes_that_can_be_right_are_not_doubted(changes):
    assert ifc_georef.place(facts(conversions=[conversion()], **changes), CITY).certificate.contradictions == ()


def rigid(first, second, measure="IfcLengthMeasure", **changes):
    written = conversion(**{"scale": None, "abscissa": None, "ordinate": None, "height": 5.6, **changes})
    return written | {"kind": "IfcRigidOperation", "eastings": first, "northings": second, "measure": measure}


def test_a_rigid_operation_in_metres_shifts_and_does_no_more():
    placed, at = put(facts(conversions=[rigid(E0, N0)]), (10, 4, 3))
    assert at == pytest.approx([E0 + 10, N0 + 4, 8.6], abs=1e-6)
    assert placed.certificate.method == "rigid-operation"
    assert placed.certificate.contradictions == ()


@pytest.mark.parametrize(
    ("first", "second", "angle_rad", "words"),
    [
        (28.1, 121.0, math.pi / 180, None),  # EPSG:4490 has the latitude first
        (math.radians(28.1), math.radians(121.0), 1.0, None),
        (121.0, 28.1, math.pi / 180, "exchanged"),
        (28.1, 121.0, 1.0, "as degrees"),
    ],
)
def test_a_rigid_operation_in_angles_lies_by_the_series(first, second, angle_rad, words):
    """CGCS2000 at 28.1 N 121 E: PROJ for the point; 1 degree off the meridian turns by sin(28.1) degrees."""
    written = rigid(first, second, "IfcPlaneAngleMeasure", name="EPSG:4490") | {"angle_rad": angle_rad}
    written["crs"]["height_unit_m"] = 1.0
    placed, at = put(facts(conversions=[written]), (0, 100, 3))
    east, north = crs.transform("EPSG:4490", "EPSG:4549", np.array([121.0]), np.array([28.1]))
    turn = math.radians(convergence_deg(28.1, 1.0))
    assert math.degrees(turn) == pytest.approx(math.sin(math.radians(28.1)), rel=0.003)
    assert at == pytest.approx([east[0] - 100 * math.sin(turn), north[0] + 100 * math.cos(turn), 8.6], abs=1e-3)
    said = placed.certificate.contradictions
    assert (words is None and said == ()) or words in said[0]
    assert (placed.crs, placed.certificate.source_crs) == ("EPSG:4549", "EPSG:4490")


def test_a_rigid_operation_elsewhere_is_refused():
    written = rigid(49.1, 8.4, "IfcPlaneAngleMeasure", name="EPSG:4490") | {"angle_rad": math.pi / 180}
    with pytest.raises(Unplaceable) as refused:
        ifc_georef.place(facts(conversions=[written]), CITY)
    assert refused.value.code == "IFC_OUT_OF_AREA"


def test_a_world_coordinate_system_is_applied_before_the_map_conversion():
    # by hand: local (1, 2, 3) m turned by 90 degrees is (-2, 1, 3), plus (10, 20, 30) m is (8, 21, 33)
    system = [[0, -1, 0, 10_000], [1, 0, 0, 20_000], [0, 0, 1, 30_000], [0, 0, 0, 1]]
    placed, at = put(facts(conversions=[conversion()], world_system=system), (1, 2, 3))
    assert at == pytest.approx([E0 + 8, N0 + 21, 5.6 + 33], abs=1e-6)
    assert placed.certificate.parameters["offset_m"] == pytest.approx([E0 + 10, N0 + 20, 35.6], abs=1e-6)
