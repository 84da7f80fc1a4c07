"""Tables without coordinates take their place from another layer, in the same build or in the city already."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

import twin
from ingest.table import join
from server.build import add_sources, build, check
from tests.ingest.workbook import write
from twin.scope import EVERYTHING
from twin.store.interface import Query

E0, N0 = 597_000.0, 3_109_000.0
TOML = """name = "joined"
crs = "EPSG:4549"
vertical_crs = "EPSG:5737"
[[source]]
path = "firms.*"
layer = "poi"
join = {layer = "parcel", attribute = "parcel_code", column = "宗地号"}
"""


def parcels(n=10, *, twice=False):
    west = E0 + 20.0 * np.arange(n)
    boxes = shapely.box(west, N0, west + 10, N0 + 10)
    codes = [f"ZD-{k:03d}" for k in range(n)]
    frame = geopandas.GeoDataFrame(
        {"parcel_code": codes, "right_type": [f"R-{k}" for k in range(n)]}, geometry=boxes, crs="EPSG:4549"
    )
    if twice:
        other = frame.iloc[[1]].translate(0, 50)
        extra = geopandas.GeoDataFrame(
            {"parcel_code": ["ZD-100"], "right_type": ["R-1"]}, geometry=list(other), crs=4549
        )
        frame = pd.concat([frame, extra], ignore_index=True)
    return frame


FIRMS = [["名称", "宗地号"], ["甲", "ZD-000"], ["乙", "ｚｄ—003"], ["丙", "ZD-777"], ["丁", ""], ["戊", "ZD-009"],
         ["己", "ZD-009"]]  # fmt: skip


def folder(tmp_path, frame=None, firms=FIRMS, toml=TOML):
    into = tmp_path / "in"
    into.mkdir(exist_ok=True)
    (into / "city.toml").write_text(toml, "utf-8")
    (into / "firms.csv").write_text("\n".join(",".join(row) for row in firms), "utf-8")
    (parcels() if frame is None else frame).to_file(into / "parcel.gpkg", layer="parcel", driver="GPKG")
    return into


def stored(path, layer):
    with twin.open(path) as city:
        return {
            row["name"]: shape
            for batch in city.store.query(layer, Query(), EVERYTHING)
            for shape, row in zip(batch.geometry, batch.attributes.to_pylist(), strict=True)
        }


def report_of(result, name):
    [report] = [each for each in result.reports if each.source == name]
    return report


def test_rows_lie_in_their_parcels_and_the_rate_is_told(tmp_path):
    source = folder(tmp_path)
    result = build(source, tmp_path / "out")
    found = stored(tmp_path / "out", "poi")
    frame = parcels().set_index("parcel_code")
    wanted = {"甲": "ZD-000", "乙": "ZD-003", "戊": "ZD-009", "己": "ZD-009"}
    assert set(found) == set(wanted)
    assert all(frame.geometry[wanted[name]].contains(shape) for name, shape in found.items())
    report = report_of(result, "firms.csv")
    assert [(reject.code, reject.content.get("名称")) for reject in report.rejects] == [
        ("JOIN_UNMATCHED", "丙"), ("JOIN_UNMATCHED", "丁"),
    ]  # fmt: skip
    [count] = report.layers
    assert (count.n_read, count.n_stored, count.n_rejected) == (6, 4, 2)
    [rate] = [issue for issue in report.issues if issue.code == "JOIN_RATE"]
    table = pd.DataFrame(FIRMS[1:], columns=FIRMS[0]).replace({"ｚｄ—003": "ZD-003"})
    merged = table.merge(parcels(), left_on="宗地号", right_on="parcel_code")
    assert f"{len(merged)} of {len(table)} rows" in rate.message
    assert report.certificate.method == "joined"


def test_a_change_of_the_other_layer_moves_the_rows(tmp_path):
    source = folder(tmp_path)
    build(source, tmp_path / "out")
    assert build(source, tmp_path / "out").reports == []
    moved = parcels()
    moved.geometry = moved.geometry.translate(0, 100)
    (source / "parcel.gpkg").unlink()
    folder(tmp_path, moved)
    result = build(source, tmp_path / "out")
    assert sorted(report.source for report in result.reports) == ["firms.csv", "parcel.gpkg"]
    assert stored(tmp_path / "out", "poi")["甲"].y == pytest.approx(N0 + 105)


def test_codes_that_stand_for_two_features_are_named(tmp_path):
    firms = [["名称", "宗地号"], ["甲", "R-1"], ["乙", "R-2"]]
    toml = TOML.replace("parcel_code", "right_type")
    result = build(folder(tmp_path, parcels(twice=True), firms, toml), tmp_path / "out")
    report = report_of(result, "firms.csv")
    assert [reject.code for reject in report.rejects] == ["JOIN_AMBIGUOUS"]
    assert "2 of layer 'parcel', attribute right_type: ZD-001, ZD-100" in report.rejects[0].message


def test_a_workbook_is_added_to_a_city_that_has_the_layer(tmp_path):
    source = folder(tmp_path)
    build(source, tmp_path / "out")
    path = write(tmp_path / "shops.xlsx", {"a": [["名称", "地块"], ["新店", "ZD-005"]]})
    hints = {"layer": "poi", "join": {"layer": "parcel", "attribute": "parcel_code", "column": "地块"}}
    with twin.open(tmp_path / "out") as city:
        result = add_sources(city, [path], hints)
    assert [report.status for report in result.reports] == ["stored"]
    assert stored(tmp_path / "out", "poi")["新店"].x == pytest.approx(E0 + 105)
    [report] = check([path], hints)
    assert report.issues[0].code == "JOIN_NEEDS_CITY"


def test_what_does_not_exist_is_said(tmp_path):
    toml = TOML.replace("宗地号", "没有").replace("parcel_code", "no_such")
    result = build(folder(tmp_path, toml=toml), tmp_path / "out")
    report = report_of(result, "firms.csv")
    assert (report.status, report.issues[0].code) == ("parked", "HINT_UNKNOWN_COLUMN")
    result = build(folder(tmp_path, toml=TOML.replace("parcel_code", "no_such")), tmp_path / "out")
    assert report_of(result, "firms.csv").issues[0].code == "JOIN_WRONG"


@pytest.mark.parametrize(
    ("text", "attribute", "keys"),
    [
        ("330382000000", "xzqdm", [["330382", "330382000", "330382000000"]]),
        ("330382", "xzqdm", [["330382", "330382000", "330382000000"]]),
        (
            "330382101203",
            "xzqdm",
            [["330382101203"], ["330382101", "330382101000"], ["330382", "330382000", "330382000000"]],
        ),
        ("330382101203", "parcel_code", [["330382101203"]]),
        ("ＡＢ－ 12", "parcel_code", [["ab-12"]]),
        ("乐清市 伯乐东路（888）号", "address", [["乐清市伯乐东路888号"]]),
    ],
)
def test_keys(text, attribute, keys):
    assert join.keys_of(text, attribute) == keys


def test_rows_of_villages_fall_back_on_their_towns_and_it_is_told(tmp_path):
    source = folder(tmp_path, firms=[["名称", "宗地号"], ["x", "ZD-001"]])
    towns = geopandas.GeoDataFrame(
        {"xzqdm": ["330382101000", "330382102000"], "name": ["一镇", "二镇"]},
        geometry=[shapely.box(E0, N0, E0 + 99, N0 + 99), shapely.box(E0 + 100, N0, E0 + 199, N0 + 99)],
        crs="EPSG:4549",
    )
    towns.to_file(source / "admin_unit.gpkg", layer="admin_unit", driver="GPKG")
    (source / "village.csv").write_text("name,code\n甲村,330382101203\n乙镇,330382102\n丙,330383\n", "utf-8")
    block = '[[source]]\npath = "village.csv"\nlayer = "poi"\n'
    block += 'join = {layer = "admin_unit", attribute = "xzqdm", column = "code"}\n'
    (source / "city.toml").write_text(TOML + block, "utf-8")
    result = build(source, tmp_path / "out")
    report = report_of(result, "village.csv")
    assert {reject.content["name"] for reject in report.rejects} == {"丙"}
    found = stored(tmp_path / "out", "poi")
    assert towns.geometry[0].contains(found["甲村"])
    assert towns.geometry[1].contains(found["乙镇"])
    told = {issue.code: issue.message for issue in report.issues}
    assert "2 of 3 rows" in told["JOIN_RATE"]
    assert "1 rows were joined to the unit above theirs, by the first 9 digits" in told["JOIN_PREFIX"]
