"""Every real IFC file is placed where hand arithmetic puts it, or parked with the right reason."""

import math
import os
from pathlib import Path

import ifcopenshell
import ifcopenshell.util.element as element_util
import ifcopenshell.util.placement as placement_util
import numpy as np
import pytest

from ingest.ifc import reader as ifc
from layers import crs
from layers.errors import CityTwinError
from layers.source import ControlPoint, Hints

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("CITYTWIN_REALDATA", ROOT.parent / "shared" / "realdata")) / "ifc"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real files (CITYTWIN_REALDATA)")

UTM32 = "EPSG:25832"

PARKED = {
    "ac11_institute_var2_ifc2x3": ("IFC_NO_SITE_ELEVATION", UTM32),
    "japanese_ac16_sjis": ("IFC_NO_SITE_ELEVATION", "EPSG:6677"),
    "drainage_system_1_2_ifc4x3": ("IFC_NO_GEOREFERENCE", UTM32),
    "earthworks_01_ifc4x3": ("IFC_NO_GEOREFERENCE", UTM32),
    "open_house_ifc4": ("IFC_NO_GEOREFERENCE", UTM32),
    "pgsuper_bridge_ifc4x3": ("IFC_NO_GEOREFERENCE", UTM32),
    "rail_awc_1_ifc4x3": ("IFC_NO_GEOREFERENCE", UTM32),
    "tesselated_faceset_ifc4": ("IFC_NO_GEOREFERENCE", UTM32),
    # the same buildings in a city elsewhere: their sites are defaults or far away
    "duplex_arch_ifc2x3": ("IFC_DEFAULT_POSITION", "EPSG:4549"),
    "japanese_revit2013_unicode": ("IFC_DEFAULT_POSITION", "EPSG:4549"),
    "kit_simple_road_ifc4x3rc2": ("IFC_OUT_OF_AREA", "EPSG:4549"),
}

BY_CONVERSION = {
    # local point, metres -> by E = Eastings + x Xa - y Xo, N = Northings + x Xo + y Xa, H = OrthogonalHeight + z
    "georef_utm_ifc4x3": (
        UTM32,
        "map-conversion",
        (0.5, 0.5, 4.0),
        (
            458657.3 + 0.5 * (0.270600445976 - 0.962691746426),
            5438232.25 + 0.5 * (0.962691746426 + 0.270600445976),
            117.7,
        ),
    ),
    "georef_tin_12d_1_ifc4x3": (
        "EPSG:7856",
        "map-conversion",
        (256400.0, 7011600.0, 35.0),
        (256400.0, 7011600.0, 35.0),
    ),
    "georef_tin_12d_2_ifc4x3": ("EPSG:7856", "map-conversion", (10.0, 20.0, 35.0), (256410.0, 7011620.0, 35.0)),
    "linear_placement_signal_ifc4x3": (
        "EPSG:3065",
        "map-conversion",
        (452600.0, 4539500.0, 6.0),
        (452600.0, 4539500.0, 6.0),
    ),
    "grf006_valid_wkt_crs_ifc4x3": (
        "EPSG:3065",
        "rigid-operation",
        (452600.0, 4539500.0, 6.0),
        (452600.0, 4539500.0, 6.0),
    ),
}

BY_SITE = {
    # city, latitude and longitude and height in the file, central meridian, true north in the local frame (x, y)
    "ac20_fzk_haus_ifc4": (UTM32, 49.100435, 8.436539, 110.0),
    "duplex_arch_ifc2x3": ("EPSG:26916", 41.8744, -87.6394, 0.0),
    "duplex_electrical_foot_ifc2x3": ("EPSG:26916", 41.874401, -87.639397, 0.0),
    "japanese_revit2013_unicode": ("EPSG:6677", 35.7, 139.766667, 0.0),
    "kit_simple_road_ifc4x3rc2": ("EPSG:32640", 24.466667, 54.416667, 0.01),
    "large_offset": (UTM32, 59.664719, 10.794646, 62.05),
}


def test_the_tables_name_every_file():
    assert {path.stem for path in REAL.glob("*.ifc")} == {*PARKED, *BY_CONVERSION, *BY_SITE}


@pytest.mark.parametrize("name", PARKED)
def test_what_has_no_place_is_parked_with_the_reason(name):
    code, city = PARKED[name]
    with pytest.raises(CityTwinError) as parked:
        ifc.read(REAL / f"{name}.ifc", Hints(city_crs=city))
    assert parked.value.code == code
    assert parked.value.hint


@pytest.mark.parametrize("name", BY_CONVERSION)
def test_a_map_conversion_lands_within_a_centimetre(name):
    city, method, local, at = BY_CONVERSION[name]
    model = ifc.read(REAL / f"{name}.ifc", Hints(city_crs=city))
    assert (model.certificate.method, model.layers[0].crs) == (method, city)
    assert placed(model, local) == pytest.approx(at, abs=0.01)


def placed(reading, local):
    numbers = reading.certificate.parameters
    return np.array(numbers["matrix"]) @ np.array(local) + np.array(numbers["offset_m"])


@pytest.mark.parametrize("name", BY_SITE)
def test_a_site_lands_on_its_latitude_and_longitude(name):
    """The certificate's step brings the site's own origin to the degrees that the manifest gives for the file."""
    city, lat, lon, height = BY_SITE[name]
    reading = ifc.read(REAL / f"{name}.ifc", Hints(city_crs=city))
    assert reading.certificate.method == "site-lat-lon"
    numbers = reading.certificate.parameters
    at = placed(reading, numbers["site_origin_m"])
    east, north = transverse_mercator(lat, lon, city)
    # the manifest's degrees have six digits: 0.11 m
    assert math.hypot(at[0] - east, at[1] - north) < 0.12
    east, north = transverse_mercator(numbers["ref_latitude_deg"], numbers["ref_longitude_deg"], city)
    assert math.hypot(at[0] - east, at[1] - north) < 0.01
    assert at[2] == pytest.approx(height, abs=0.001)


def transverse_mercator(lat_deg, lon_deg, code):
    """East and north by Krueger's series (n to the third order), GRS 80; UTM, or the Japanese plane of zone IX."""
    meridian, north0, k0, east0, false_north = {
        "EPSG:25832": (9.0, 0.0, 0.9996, 500000.0, 0.0),
        "EPSG:26916": (-87.0, 0.0, 0.9996, 500000.0, 0.0),
        "EPSG:32640": (57.0, 0.0, 0.9996, 500000.0, 0.0),
        "EPSG:6677": (139 + 50 / 60, 36.0, 0.9999, 0.0, 0.0),
    }[code]
    n = (1 / 298.257222101) / (2 - 1 / 298.257222101)
    radius = 6378137 / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    alphas = (n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16, 13 * n**2 / 48 - 3 * n**3 / 5, 61 * n**3 / 240)
    e = 2 * math.sqrt(n) / (1 + n)

    def series(lat, dlon):
        sine = math.sin(lat)
        t = math.sinh(math.atanh(sine) - e * math.atanh(e * sine))
        xi, eta = math.atan2(t, math.cos(dlon)), math.atanh(math.sin(dlon) / math.hypot(1, t))
        x = eta + sum(a * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, a in enumerate(alphas, 1))
        y = xi + sum(a * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, a in enumerate(alphas, 1))
        return k0 * radius * x, k0 * radius * y

    x, y = series(math.radians(lat_deg), math.radians(lon_deg - meridian))
    return east0 + x, false_north + y - series(math.radians(north0), 0.0)[1]


def test_japanese_names_behind_eight_bit_escapes_are_readable():
    """The storeys are those of the same house that another program wrote in Unicode escapes: 1階, 2階."""
    points = ((0.0, 0.0, 0.0), (1000.0, 0.0, 5.0), (0.0, 1000.0, 1.0), (1300.0, 700.0, 9.0))
    hints = Hints(city_crs="EPSG:6677", control_points=tuple(ControlPoint(each, each) for each in points))
    reading = ifc.read(REAL / "japanese_ac16_sjis.ifc", hints)
    names = [name for layer in reading.layers for b in layer.batches() for name in b.attributes["name"].to_pylist()]
    assert {"サイト", "1階", "2階", "屋根"} <= set(names)
    assert not [name for name in names if name and any(0x80 <= ord(sign) <= 0x9F for sign in name)]
    assert any(issue.code == "IFC_ENCODING" and "cp932" in issue.message for issue in reading.issues)


def test_every_port_of_a_drainage_system_is_joined_as_the_file_says():
    """24 ports of pipes and chambers in 12 connections, read once more by IfcOpenShell; ports that meet are joined."""
    points = ((0.0, 0.0, 0.0), (1000.0, 0.0, 5.0), (0.0, 1000.0, 1.0), (1300.0, 700.0, 9.0))
    hints = Hints(city_crs=UTM32, control_points=tuple(ControlPoint(each, each) for each in points))
    path = REAL / "drainage_system_1_2_ifc4x3.ifc"
    reading = ifc.read(path, hints)
    rows = {}
    for layer in reading.layers:
        for batch in layer.batches():
            for key, geometry, row in zip(batch.ids, batch.geometry, batch.attributes.to_pylist(), strict=True):
                rows[key] = row | {"geometry": geometry, "layer": layer.layer_type}
        assert layer.n_read == sum(row["layer"] == layer.layer_type for row in rows.values()) + len(layer.rejects)
    model = ifcopenshell.file.from_string(path.read_text("utf8").replace("IFC4X3_RC3", "IFC4X3_ADD2"))
    ports = {key: row for key, row in rows.items() if row["layer"] == "bim_port"}
    assert len(ports) == 24
    for each in model.by_type("IfcDistributionPort"):
        at = placement_util.get_local_placement(each.ObjectPlacement)[:3, 3]
        assert ports[each.GlobalId]["geometry"].coords[0] == pytest.approx(at, abs=1e-6)
    owner = {port: row["element_id"] for port, row in ports.items()}
    assert sum(rows[each]["ifc_class"] == "IfcPipeSegment" for each in set(owner.values()) - {None}) == 6
    pairs = [(c.RelatingPort.GlobalId, c.RelatedPort.GlobalId) for c in model.by_type("IfcRelConnectsPorts")]
    assert len(pairs) == 12
    for one, other in pairs:
        assert (ports[one]["connected_port"], ports[other]["connected_port"]) == (other, one)
        assert (ports[one]["connected_to"], ports[other]["connected_to"]) == (owner[other], owner[one])
        assert owner[other] in rows[owner[one]]["connected_to"]


def test_spaces_have_the_areas_and_volumes_of_their_quantities():
    """KIT FZK-Haus: seven rooms with base quantities, read once more by IfcOpenShell."""
    path = REAL / "ac20_fzk_haus_ifc4.ifc"
    reading = ifc.read(path, Hints(city_crs=UTM32))
    rows = {}
    for batch in reading.layers[1].batches():
        rows |= dict(zip(batch.ids, batch.attributes.to_pylist(), strict=True))
    model = ifcopenshell.open(path)
    spaces = model.by_type("IfcSpace")
    assert len(spaces) == 7
    for space in spaces:
        sets = element_util.get_psets(space, qtos_only=True)
        area = next(v["NetFloorArea"] for v in sets.values() if "NetFloorArea" in v)
        volume = next(v["NetVolume"] for v in sets.values() if "NetVolume" in v)
        assert rows[space.GlobalId]["area_m2"] == pytest.approx(area)
        assert rows[space.GlobalId]["volume_m3"] == pytest.approx(volume)


def test_the_same_terrain_with_and_without_an_offset_lies_on_the_same_spot():
    """Two files of one TIN: map coordinates in the shapes, and local ones with a map conversion."""
    boxes = []
    for name in ("georef_tin_12d_1_ifc4x3", "georef_tin_12d_2_ifc4x3"):
        reading = ifc.read(REAL / f"{name}.ifc", Hints(city_crs="EPSG:7856"))
        [batch] = reading.layers[0].batches()
        boxes.append(batch.meshes[0].bounds())
    assert boxes[0] == pytest.approx(boxes[1], abs=0.001)
    lon, lat = crs.transform("EPSG:7856", "EPSG:4326", np.array([boxes[0][0]]), np.array([boxes[0][1]]))
    assert (lon[0], lat[0]) == pytest.approx((150.5, -27.0), abs=2.0)  # Queensland
