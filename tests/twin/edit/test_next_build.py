"""Edits and the files: nothing done by hand is lost in silence, whatever the next build reads."""

import os

import pandas as pd
import pytest
import rasterio
import shapely

from layers.errors import NotFound
from server import build

REPORTS = ("EDIT_KEPT", "EDIT_WITHOUT_SOURCE")


def rebuilt(city, source):
    done = build.build(source, city.folder)
    issues = [*done.issues, *(issue for report in done.reports for issue in report.issues)]
    return done, sorted((issue.code, issue.where) for issue in issues if issue.code in REPORTS)


def touch(path):
    """Other bytes of the same content would do as well; a build must not look at the time alone."""
    os.utime(path, ns=(1, 1))


def save(source, files, table):
    (source / "building.gpkg").unlink()
    files.write(source, building=table)


@pytest.fixture
def edited(city, files):
    """One changed, one deleted, one added."""
    with city.editing("surveyor") as edit:
        edit["building"].update("B-0", height_m=42.0)
        edit["building"].delete("B-1")
        edit["building"].put({"type": "Feature", "id": "N-1", "geometry": shapely.geometry.mapping(files.square(33)),
                              "properties": {"height_m": 8.0}})  # fmt: skip
    return city


def state(city):
    frame = city["building"].query()
    return dict(zip(frame.index, frame["height_m"].fillna(-1).tolist(), strict=True))


EDITED = {"B-0": 42.0, "B-2": 30.0, "B-3": -1.0, "B-4": 9.0, "B-5": 21.0, "N-1": 8.0}


def test_files_that_did_not_change_are_not_even_read(edited, source):
    done, issues = rebuilt(edited, source)
    assert done.reports == []
    assert issues == []
    assert state(edited) == EDITED
    assert [(each.id, each.what, each.editor, each.source, each.differs) for each in edited["building"].edits()] == [
        ("B-0", "changed", "surveyor", "building.gpkg", False), ("B-1", "deleted", "surveyor", "building.gpkg", False),
        ("N-1", "added", "surveyor", None, False),
    ]  # fmt: skip


def test_a_file_that_says_the_same_elsewhere_keeps_the_edits(edited, source, files):
    table = files.buildings()
    table.loc[5, "height_m"] = 22.0
    save(source, files, table)
    done, issues = rebuilt(edited, source)
    [report] = done.reports
    [count] = report.layers
    assert (count.n_read, count.n_stored, count.n_updated, count.n_withheld, report.status) == (6, 5, 1, 1, "stored")
    assert issues == []
    assert done.exit_code == 0
    assert state(edited) == EDITED | {"B-5": 22.0}


def test_a_file_that_says_something_else_does_not_win_and_is_told(edited, source, files):
    table = files.buildings()
    table.loc[[0, 1], "height_m"] = [15.0, 16.0]
    extra = files.buildings().iloc[[0]].assign(building_code="N-1", height_m=99.0)
    save(source, files, pd.concat([table, extra]))
    done, issues = rebuilt(edited, source)
    assert issues == [("EDIT_KEPT", "building/B-0"), ("EDIT_KEPT", "building/B-1"), ("EDIT_KEPT", "building/N-1")]
    assert state(edited) == EDITED
    assert done.exit_code == 0
    assert [each.differs for each in edited["building"].edits()] == [True, True, True]


def test_a_feature_and_a_file_that_are_gone_leave_the_edit_and_are_told(edited, source, files):
    save(source, files, files.buildings().iloc[2:])
    _, issues = rebuilt(edited, source)
    assert issues == [("EDIT_WITHOUT_SOURCE", "building/B-0")]
    assert state(edited) == EDITED
    (source / "building.gpkg").unlink()
    _, issues = rebuilt(edited, source)
    assert issues == [("EDIT_WITHOUT_SOURCE", "building/B-0")]
    assert state(edited) == {"B-0": 42.0, "N-1": 8.0}


def test_edits_are_withdrawn(edited, source, files):
    done = edited["building"].revert(["B-0", "B-1", "N-1"])
    assert done.versions == [3, 2, 0]
    before = {"B-0": 12.0, "B-1": 9.0, "B-2": 30.0, "B-3": -1.0, "B-4": 9.0, "B-5": 21.0}
    assert state(edited) == before
    assert edited["building"].info.mesh_count == 6
    _, issues = rebuilt(edited, source)
    assert issues == []
    assert state(edited) == before
    assert edited["building"].get("B-0")["version"] == 3, "what the file says is what is there: no new version"
    with pytest.raises(NotFound):
        edited["building"].revert("B-0")


def test_what_a_file_says_by_now_comes_with_the_build_after_the_edit_was_withdrawn(edited, source, files):
    table = files.buildings()
    table.loc[0, "height_m"] = 15.0
    save(source, files, table)
    rebuilt(edited, source)
    edited["building"].revert(["B-0", "B-1"])
    _, issues = rebuilt(edited, source)
    assert issues == []
    assert state(edited) == EDITED | {"B-0": 15.0, "B-1": 9.0}


def test_a_deleted_feature_may_be_put_again_and_edited_again(edited, source, files):
    feature = {"type": "Feature", "id": "B-1", "geometry": shapely.geometry.mapping(files.square(1)), "properties": {}}
    assert edited["building"].put(feature).versions == [2]
    edited["building"].update("B-1", height_m=7.0)
    edited["building"].delete("N-1")
    assert [(each.id, each.what) for each in edited["building"].edits()] == [("B-0", "changed"), ("B-1", "changed")]
    touch(source / "building.gpkg")
    _, issues = rebuilt(edited, source)
    assert issues == []
    assert state(edited)["B-1"] == 7.0


def test_the_ground_changes_under_an_edit(edited, source):
    """Files stand on the new ground; an edited feature keeps what it has, which is told."""
    with rasterio.open(source / "dem.tif", "r+") as file:
        file.write(file.read(1) + 1, 1)
    _, issues = rebuilt(edited, source)
    assert issues == [("EDIT_KEPT", "building/B-0"), ("EDIT_KEPT", "building/B-1")]
    assert edited["building"].get("B-5")["base_elev_m"] == pytest.approx(7.95, abs=1e-5)
    assert state(edited)["B-0"] == 42.0
