"""CityGML from the folder into the store: a known corner within 1 cm, and PLATEAU in Japan."""

import shutil

import numpy as np
import pyproj
import shapely

from layers.mesh import decode
from server.build import build
from tests.ingest.test_citygml import BASE, EAST, NORTH, document, house
from twin.city import City
from twin.store.interface import Query


def stored(folder, layer_id):
    """Outlines in the city's CRS and vertices in its ENU frame, of all features."""
    with City(folder) as city:
        table = city.store.mesh_table(layer_id, city.scope)
        meshes = [decode(each.blob).vertices for each in city.store.meshes(layer_id, table.fids, city.scope) if each]
        found = city.store.query(layer_id, Query(), city.scope)
        return np.concatenate(meshes), np.concatenate([each.geometry for each in found]), city.frame


def test_a_corner_is_at_its_place_in_the_store(tmp_path):
    source, twin = tmp_path / "city", tmp_path / "twin"
    source.mkdir()
    (source / "houses.gml").write_text(document([house()]), "utf8")
    lines = ['crs = "EPSG:4549"', 'vertical_crs = "EPSG:5737"', 'height_model = "egm96"']
    (source / "city.toml").write_text("\n".join(lines), "utf8")
    result = build(source, twin)
    [report] = result.reports
    assert (report.format, report.layers[0].n_stored) == ("CityGML 2.0", 1)
    vertices, shapes, frame = stored(twin, "building")
    corners = np.array([(EAST, NORTH, BASE), (EAST + 10, NORTH + 8, BASE + 5)])
    assert shapely.total_bounds(shapes).tolist() == [EAST, NORTH, EAST + 10, NORTH + 8]
    for corner in frame.to_enu(corners):
        assert np.linalg.norm(vertices - corner, axis=1).min() < 0.01


def test_plateau_is_built_in_japan(tmp_path, realdata):
    source, twin = tmp_path / "city", tmp_path / "twin"
    source.mkdir()
    shutil.copy(realdata / "city" / "plateau_yokosuka_bldg.gml", source)
    lines = ['crs = "EPSG:6677"', 'vertical_crs = "EPSG:6695"', 'height_model = "egm96"', "origin = [139.739, 35.2596]"]
    (source / "city.toml").write_text("\n".join(lines), "utf8")
    result = build(source, twin)
    [report] = result.reports
    assert report.layers[0].n_stored == 13
    assert report.certificate.source_vertical_crs == "EPSG:6695"
    assert "heights are EPSG:6695 already" in report.certificate.transformation
    _, shapes, _ = stored(twin, "building")
    # a corner of the first outline, as the file has it: latitude, longitude
    east, north = pyproj.Transformer.from_crs("EPSG:6668", "EPSG:6677").transform(
        35.25962954418222, 139.73892268006682
    )[::-1]
    assert shapely.Point(east, north).distance(shapely.multipoints(shapely.get_coordinates(shapes))) < 0.01


def test_heights_in_another_datum_are_refused_by_name_never_taken_as_they_are(tmp_path, realdata):
    source, twin = tmp_path / "city", tmp_path / "twin"
    source.mkdir()
    shutil.copy(realdata / "city" / "plateau_yokosuka_bldg.gml", source)
    lines = ['crs = "EPSG:6677"', 'vertical_crs = "EPSG:5737"', 'height_model = "egm96"', "origin = [139.739, 35.2596]"]
    (source / "city.toml").write_text("\n".join(lines), "utf8")
    [report] = build(source, twin).reports
    assert report.status == "parked"
    assert [each.code for each in report.issues] == ["VERTICAL_DATUM"]
    assert "EPSG:6695" in report.issues[0].message
