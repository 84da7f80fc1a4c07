"""Putting and getting features: identity, versions, history, duplicates, types."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers.errors import InvalidInput, LayerNotFound, NotFound
from layers.mesh import StoredMesh
from twin.scope import EVERYTHING
from twin.store.interface import Query, Rows


def everything(store, layer="house", **query):
    return list(store.query(layer, Query(**query), EVERYTHING))


def one(store, layer="house", **query):
    batches = everything(store, layer, **query)
    assert len(batches) == 1
    return batches[0]


def test_every_type_comes_back_as_it_went_in(store, make):
    geometry = [
        shapely.Polygon([(0, 0, 3.5), (4, 0, 3.5), (4, 4, 7)], [[(3, 1, 4), (3.5, 1, 4), (3.5, 1.5, 4)]]),
        shapely.box(1e6 / 3, 3.1e6, 1e6 / 3 + 0.1, 3.1e6 + 0.1),
        None,
    ]
    given = make.rows(
        ["a", "b", "丙'; DROP TABLE house; --"],
        geometry,
        extra=['{"怪": [1, null]}', None, None],
        name=["长潭", None, "x\ny"],
        height_m=[1.25, float("nan"), -0.0],
        floors=[2**62 + 1, None, -3],
        ok=[True, False, None],
        built=[date(1949, 10, 1), None, date(2026, 2, 28)],
        seen_at=[datetime(2026, 1, 1, 8, 0, 0, 123456, UTC), datetime(1969, 12, 31, 23, 59, 59, 0, UTC), None],
    )
    assert make.stored(store, make.layer_type(), given)[0] == ["inserted"] * 3
    back = one(store)
    assert back.ids == ["a", "b", "丙'; DROP TABLE house; --"]
    assert shapely.equals_identical(back.geometry[:2], np.array(geometry[:2])).all()
    assert back.geometry[2] is None
    expected = given.attributes.to_pydict() | {"height_m": [1.25, None, 0.0]}  # SQLite keeps no NaN
    assert back.attributes.to_pydict() == expected
    assert back.attributes.schema == given.attributes.schema
    assert back.extra == ['{"怪": [1, null]}', None, None]
    assert back.versions.tolist() == [1, 1, 1]
    assert back.valid_to == [None] * 3


def test_a_change_closes_the_old_version_and_a_repetition_does_nothing(store, make):
    layer, shape = make.layer_type(), shapely.box(0, 0, 1, 1)
    make.stored(store, layer, make.rows(["a", "b"], [shape, shape], floors=[1, 2]))
    version = store.layer("house", EVERYTHING).version
    outcome, closed = make.stored(store, layer, make.rows(["a", "b"], [shape, shape], floors=[1, 3]))
    assert (outcome, closed) == (["unchanged", "updated"], {})
    now = one(store)
    assert (now.ids, now.versions.tolist()) == (["a", "b"], [1, 2])
    assert now.attributes["floors"].to_pylist() == [1, 3]
    assert store.layer("house", EVERYTHING).version > version
    outcome, closed = make.stored(store, layer, make.rows(["b"], [shape], floors=[3]))
    assert (outcome, closed) == (["unchanged"], {"house": 1})
    assert one(store).ids == ["b"]
    make.stored(store, layer, make.rows(["a", "b"], [shape, shape], floors=[1, 3]))
    again = one(store, ids=("a",))
    assert again.versions.tolist() == [2], "an id that comes back goes on counting"


def test_the_state_of_every_moment_can_be_read_again(store, make):
    """Against a plain dict that is kept beside the store."""
    rng = np.random.default_rng(5)
    layer, states = make.layer_type(), []
    for _ in range(6):
        chosen = {f"h{i}": int(rng.integers(0, 3)) for i in range(30) if rng.random() < 0.7}
        boxes = [shapely.box(10 * f, 0, 10 * f + 1, 1) for f in chosen.values()]
        make.stored(store, layer, make.rows(list(chosen), boxes, floors=list(chosen.values())))
        states.append((datetime.fromisoformat(store.layer("house", EVERYTHING).updated), chosen))
    for moment, expected in states:
        for at in (moment, moment + timedelta(microseconds=400)):
            found = [
                f
                for batch in everything(store, at=at)
                for f in zip(batch.ids, batch.attributes["floors"].to_pylist(), strict=True)
            ]
            assert dict(found) == expected
            assert len(found) == len(expected) == store.count("house", Query(at=at), EVERYTHING)
        west = Query(at=moment, region=shapely.box(0, 0, 5, 5))
        inside = {id_ for batch in store.query("house", west, EVERYTHING) for id_ in batch.ids}
        assert inside == {id_ for id_, floors in expected.items() if floors == 0}
    assert everything(store, at=states[0][0] - timedelta(milliseconds=1)) == []


def test_fids_ascend_and_page_through_everything_once(store, make):
    n = 57
    shapes = [shapely.Point(i, 0).buffer(1) for i in range(n)]
    make.stored(store, make.layer_type(), make.rows([f"h{i}" for i in range(n)], shapes, floors=list(range(n))))
    seen, after = [], 0
    while batches := everything(store, after_fid=after, limit=10):
        seen += [id_ for batch in batches for id_ in batch.ids]
        after = int(batches[-1].fids[-1])
    assert seen == [f"h{i}" for i in range(n)]
    box = shapely.box(-10, -10, 100, 10)
    by_offset = [b.ids for o in range(0, n, 7) for b in everything(store, region=box, offset=o, limit=7)]
    assert [id_ for ids in by_offset for id_ in ids] == seen
    assert everything(store, limit=0) == everything(store, offset=n) == []
    small = list(store.query("house", Query(), EVERYTHING, batch_size=8))
    assert [len(b) for b in small] == [8] * 7 + [1]


def test_duplicates_are_told_and_not_stored(store, make):
    layer, shape = make.layer_type(), shapely.box(0, 0, 1, 1)
    first = make.rows(["a", "a", "b"], [shape] * 3, floors=[1, 2, 3])
    assert make.stored(store, layer, first)[0] == ["inserted", "duplicate", "inserted"]
    assert make.stored(store, layer, make.rows(["b", "c"], [shape] * 2), "other.shp")[0] == ["duplicate", "inserted"]
    with store.writing() as batch:
        batch.begin_source(make.source())
        assert batch.put("house", "a.gpkg", make.rows(["a"], [shape], floors=[1])).outcome.tolist() == ["unchanged"]
        assert batch.put("house", "a.gpkg", make.rows(["a"], [shape], floors=[9])).outcome.tolist() == ["duplicate"]
    assert one(store, ids=("a",)).attributes["floors"].to_pylist() == [1]


def test_an_id_can_move_to_another_source_in_one_write(store, make):
    layer, shape = make.layer_type(), shapely.box(0, 0, 1, 1)
    make.stored(store, layer, make.rows(["a", "b"], [shape] * 2, floors=[1, 2]), "old.gpkg")
    with store.writing() as batch:
        batch.begin_source(make.source("old.gpkg"))
        batch.begin_source(make.source("new.gpkg"))
        assert batch.put("house", "new.gpkg", make.rows(["a"], [shape], floors=[1])).outcome.tolist() == ["unchanged"]
        assert batch.finish_source(make.source("old.gpkg"), make.report("old.gpkg")) == {"house": 1}
        batch.finish_source(make.source("new.gpkg"), make.report("new.gpkg"))
    assert one(store).ids == ["a"]
    with store.writing() as batch:
        assert batch.remove_source("new.gpkg") == {"house": 1}
    assert [s.path for s in store.sources()] == ["old.gpkg"]
    assert [r["source"] for r in store.reports()] == ["old.gpkg"]
    assert store.count("house", Query(), EVERYTHING) == 0
    assert store.layer("house", EVERYTHING).bounds is None


def test_bounds_and_heights_follow_the_features(store, make):
    layer = make.layer_type("pipe", "LineStringZ")
    lines = [shapely.LineString([(0, 0, -2), (10, 5, 4)]), shapely.LineString([(50, 60, 1), (70, 80, 9)])]
    make.stored(store, layer, make.rows(["a", "b"], lines))
    info = store.layer("pipe", EVERYTHING)
    assert (info.bounds, info.z_bounds, info.count) == ((0, 0, 70, 80), (-2, 9), 2)
    make.stored(store, layer, make.rows(["a"], lines[:1]))
    info = store.layer("pipe", EVERYTHING)
    assert (info.bounds, info.z_bounds, info.count) == ((0, 0, 10, 5), (-2, 4), 1)


def test_single_and_multi_geometries_live_in_one_column_and_come_back_as_they_were(store, make):
    single, multi = shapely.box(0, 0, 1, 1), shapely.MultiPolygon([shapely.box(3, 3, 4, 4), shapely.box(6, 6, 7, 7)])
    lonely = shapely.MultiPolygon([shapely.box(8, 8, 9, 9)])
    layer = make.layer_type()
    make.stored(store, layer, make.rows(["s"], [single]), "1")
    make.stored(store, layer, make.rows(["m", "l", "z", "e"], [multi, lonely, single, shapely.Polygon()]), "2")
    found = {i: g for b in everything(store) for i, g in zip(b.ids, b.geometry, strict=True)}
    assert {i: g.geom_type for i, g in found.items()} == {
        "s": "Polygon", "m": "MultiPolygon", "l": "MultiPolygon", "z": "Polygon", "e": "Polygon",
    }  # fmt: skip
    outcome, _ = make.stored(store, layer, make.rows(["s"], [single]), "1")
    assert outcome == ["unchanged"], "being stored as multi does not make it another feature"
    make.stored(store, layer, make.rows([], []), "1")
    before = datetime.fromisoformat(store.layer("house", EVERYTHING).updated) - timedelta(milliseconds=1)
    assert one(store, ids=("s",), at=before).geometry[0].geom_type == "Polygon"


def test_a_layer_grows_by_attributes_and_types_without_losing_anything(store, make):
    shape = shapely.box(0, 0, 1, 1)
    make.stored(store, make.layer_type(columns={"v": "integer", "flag": "boolean"}), Rows(
        ["a", "b"], np.array([shape, shape]), pa.table({"v": [1, 2], "flag": [True, None]}), [None] * 2
    ), "1")  # fmt: skip
    wider = make.layer_type(columns={"v": "number", "flag": "string", "new": "date"})
    outcome, _ = make.stored(store, wider, Rows(
        ["c"], np.array([shape]), pa.table({"v": [0.5], "flag": ["maybe"], "new": [date(2026, 1, 1)]}), [None]
    ), "2")  # fmt: skip
    assert outcome == ["inserted"]
    assert one(store).attributes.to_pydict() == {
        "v": [1.0, 2.0, 0.5], "flag": ["true", None, "maybe"], "new": [None, None, date(2026, 1, 1)],
    }  # fmt: skip
    third = make.layer_type(columns={"v": "integer", "more": "string"})
    make.stored(store, third, Rows(["d"], np.array([shape]), pa.table({"v": [7]}), [None]), "3")
    assert store.layer("house", EVERYTHING).type.arrow_schema().names == ["v", "more", "flag", "new"]


def test_widening_does_not_make_rows_look_changed(store, make):
    shape = np.array([shapely.box(0, 0, 1, 1)])
    given = Rows(["a"], shape, pa.table({"v": [1]}), [None])
    make.stored(store, make.layer_type(columns={"v": "integer"}), given)
    assert make.stored(store, make.layer_type(columns={"v": "integer", "w": "string"}), given)[0] == ["unchanged"]


def test_attribute_names_that_the_store_uses_itself_or_that_differ_only_in_case(store, make):
    names = ["id", "fid", "FID", "geom", "version", "Name", "name", "valid_to", 'a"b', "选择", "rowid", "x.y"]
    layer = make.layer_type(columns=dict.fromkeys(names, "string"))
    table = pa.table({name: [f"value of {name}"] for name in names})
    make.stored(store, layer, Rows(["it"], np.array([shapely.box(0, 0, 1, 1)]), table, [None]))
    back = one(store)
    assert back.ids == ["it"]
    assert back.attributes.to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    "layer_id", ["gpkg_contents", "rtree_x", "Roads", "roads", "sqlite_x", 'we"ird', "道路", "select"]
)
def test_any_layer_id_gets_a_table(store, make, layer_id):
    make.stored(store, make.layer_type("Roads"), make.rows(["x"], [None]), "0")
    make.stored(store, make.layer_type(layer_id), make.rows(["a"], [shapely.box(0, 0, 1, 1)]), "1")
    assert "a" in one(store, layer_id).ids


def test_a_table_without_geometry(store, make):
    layer = make.layer_type("reading", "none")
    make.stored(store, layer, make.rows(["a", "b"], [None, None], floors=[1, 2]))
    assert one(store, "reading", filter={"op": ">", "args": [{"property": "floors"}, 1]}).ids == ["b"]
    assert everything(store, "reading", region=shapely.box(-1e9, -1e9, 1e9, 1e9)) == []
    assert store.layer("reading", EVERYTHING).bounds is None
    with pytest.raises(InvalidInput, match="no geometry column"):
        make.stored(store, layer, make.rows(["c"], [shapely.Point(0, 0)]))


def test_meshes_stay_with_their_feature(store, make):
    meshes = [StoredMesh(bytes([i]) * 9, (i, 0, 0, i + 1, 2, 3)) if i % 2 else None for i in range(6)]
    shapes, ids = [shapely.box(i, 0, i + 1, 1) for i in range(6)], [f"h{i}" for i in range(6)]
    make.stored(store, make.layer_type(), make.rows(ids, shapes, meshes=meshes, floors=list(range(6))))
    table = store.mesh_table("house", EVERYTHING)
    assert table.bounds[:, 0].tolist() == [1, 3, 5]
    assert table.sizes.tolist() == [9, 9, 9]
    backwards = table.fids[::-1]
    assert store.meshes("house", backwards, EVERYTHING) == [meshes[5], meshes[3], meshes[1]]
    assert store.features_by_fid("house", backwards, EVERYTHING).attributes["floors"].to_pylist() == [5, 3, 1]
    assert store.layer("house", EVERYTHING).mesh_count == 3
    meshes[3] = StoredMesh(b"new", (0, 0, 0, 1, 1, 1))
    outcome, _ = make.stored(store, make.layer_type(), make.rows(ids, shapes, meshes=meshes, floors=list(range(6))))
    assert outcome == ["unchanged"] * 3 + ["updated"] + ["unchanged"] * 2, "a new mesh is a change"
    table = store.mesh_table("house", EVERYTHING)
    assert len(table.fids) == store.layer("house", EVERYTHING).mesh_count == 3
    with pytest.raises(NotFound, match="has no mesh"):
        store.meshes("house", np.array([1]), EVERYTHING)


def test_what_does_not_exist_is_named(store, make):
    make.stored(store, make.layer_type(), make.rows(["a"], [shapely.box(0, 0, 1, 1)]))
    with pytest.raises(LayerNotFound, match="Did you mean 'house'"):
        store.layer("hose", EVERYTHING)
    with pytest.raises(InvalidInput, match="no attribute 'hight'"):
        store.query("house", Query(properties=("hight",)), EVERYTHING)
    with pytest.raises(InvalidInput, match="not begun"), store.writing() as batch:
        batch.put("house", "nobody", make.rows(["a"], [None]))
    with pytest.raises(InvalidInput, match="not finite"):
        make.stored(store, make.layer_type(), make.rows(["n"], [shapely.Polygon([(0, 0), (1, 0), (1, np.inf)])]))
    with pytest.raises(InvalidInput, match="3 ids"):
        make.stored(
            store, make.layer_type(), Rows(["a", "b", "c"], np.array([None]), pa.table({"name": ["x"]}), [None])
        )
