"""Heights of which nobody says whether they are feet: doubted, and right with the line that the doubt offers."""

import shapely
from geopandas import GeoDataFrame

import twin


def test_z_in_a_shapefile_of_a_zone_in_feet(folder):
    line = shapely.LineString([(987_000, 213_000, 10.0), (987_100, 213_000, 20.0)])
    frame = GeoDataFrame({"pipe_id": ["p1"], "dn_mm": [300], "z_ref": ["centre"]}, geometry=[line], crs="EPSG:2263")
    frame.to_file(folder.files / "pipe_gas.shp")
    city = ('crs = "EPSG:32118"', 'vertical_crs = "EPSG:5703"')
    folder.toml(*city)
    (report,) = folder.build().reports
    doubts = [issue for issue in report.issues if issue.code == "HEIGHT_UNIT_UNKNOWN"]
    assert len(doubts) == 1
    assert 'vertical_crs into city.toml, such as "EPSG:6360"' in doubts[0].hint
    folder.toml(*city, "[[source]]", 'path = "pipe_gas.shp"', 'vertical_crs = "EPSG:6360"')
    (report,) = folder.build().reports
    assert "HEIGHT_UNIT_UNKNOWN" not in {issue.code for issue in report.issues}
    with twin.open(folder.twin) as opened:
        z = shapely.get_coordinates(opened["pipe_gas"].query().geometry.iloc[0], include_z=True)[:, 2]
    assert abs(z - [10 * 1200 / 3937, 20 * 1200 / 3937]).max() < 1e-9


def test_plane_features_in_feet_are_not_doubted(folder):
    frame = GeoDataFrame(
        {"id": ["a"], "height_m": [6.0]}, geometry=[shapely.box(987_000, 213_000, 987_040, 213_030)], crs=2263
    )
    frame.to_file(folder.files / "building.gpkg")
    (report,) = folder.build().reports
    assert "HEIGHT_UNIT_UNKNOWN" not in {issue.code for issue in report.issues}
