"""Sheets of one layer, each of which counts its rows from 1."""

import shapely
from geopandas import GeoDataFrame

import twin

E0, N0 = 623_800.0, 4_152_900.0


def sheet(n, north, height_m=9.0):
    shapes = [shapely.box(E0 + 30 * k, north, E0 + 30 * k + 9, north + 9) for k in range(n)]
    return GeoDataFrame({"id": range(1, n + 1), "height_m": height_m}, geometry=shapes, crs="EPSG:4549")


def test_two_sheets_that_both_count_from_one(folder):
    folder.toml('crs = "EPSG:4549"')
    sheet(4, N0).to_file(folder.files / "building_east.shp")
    sheet(3, N0 + 500).to_file(folder.files / "building_west.geojson")
    result = folder.build()
    assert [(report.status, report.layers[0].n_stored) for report in result.reports] == [("stored", 4), ("stored", 3)]
    with twin.open(folder.twin) as city:
        before = city["building"].query()
    changed = sheet(4, N0)
    changed.loc[1, "height_m"] = 12.0
    changed.iloc[::-1].to_file(folder.files / "building_east.shp")  # the rows in another order
    (report,) = folder.build().reports
    assert (report.layers[0].n_updated, report.layers[0].n_unchanged) == (1, 3)
    with twin.open(folder.twin) as city:
        after = city["building"].query()
    assert sorted(after.index) == sorted(before.index)
    assert after.height_m["building_east.2"] == 12.0
    assert after.geometry["building_west.3"].equals(before.geometry["building_west.3"])


def test_a_named_id_column_stays_as_it_is(folder):
    folder.toml('crs = "EPSG:4549"', "[[source]]", 'path = "*.shp"', 'id_column = "id"')
    sheet(2, N0).to_file(folder.files / "building.shp")
    folder.build()
    with twin.open(folder.twin) as city:
        assert sorted(city["building"].query().index) == ["1", "2"]
