"""An edited city equals one that is built from files which say the same: attributes, geometry, meshes, links."""

import numpy as np
import pandas as pd
import pytest
import shapely

from layers.mesh import decode
from twin.scope import EVERYTHING
from twin.store.interface import Query

LAYERS = ("building", "pipe_water", "valve")


def content(city, layer_id):
    """Everything of each feature but when it was stored."""
    frame = city[layer_id].query().drop(columns=["version", "valid_from", "valid_to"])
    fids = {}
    for part in city.store.query(layer_id, Query(), EVERYTHING):
        fids |= dict(zip(part.ids, part.fids.tolist(), strict=True))
    table = city.store.mesh_table(layer_id, EVERYTHING)
    meshes = dict(zip(table.fids.tolist(), city.store.meshes(layer_id, table.fids, EVERYTHING), strict=True))
    out = {}
    for row in frame.itertuples():
        values = {
            name: None if pd.isna(value) else value
            for name, value in row._asdict().items() if name not in {"Index", "geometry"}
        }  # fmt: skip
        out[row.Index] = values, row.geometry, meshes.get(fids[row.Index])
    return out


def assert_same(city, other):
    for layer_id in LAYERS:
        found, wanted = content(city, layer_id), content(other, layer_id)
        assert sorted(found) == sorted(wanted)
        for name, (values, shape, mesh) in wanted.items():
            own_values, own_shape, own_mesh = found[name]
            assert own_values == pytest.approx(values), name
            assert shapely.equals_exact(own_shape, shape, 1e-6), name
            z = [shapely.get_coordinates(each, include_z=True)[:, 2] for each in (own_shape, shape)]
            assert np.allclose(*z, rtol=0, atol=1e-6, equal_nan=True), name
            assert (own_mesh is None) == (mesh is None), name
            if mesh is not None:
                a, b = decode(own_mesh.blob), decode(mesh.blob)
                assert np.array_equal(a.triangles, b.triangles)
                assert np.abs(a.vertices - b.vertices).max() < 1e-4, name


def by_code(table, column, code, **values):
    """The table with some values of one row set, as whoever keeps the file would."""
    out = table.copy()
    for name, value in values.items():
        out.loc[out[column] == code, name] = value
    return out


BUILDINGS = {
    "height": ("B-0", {"height_m": 42.0}),
    "height of storeys": ("B-1", {"floors": 6}),
    "a height instead of storeys": ("B-1", {"height_m": 10.5}),
    "no height": ("B-4", {"height_m": None}),
    "no height but storeys": ("B-5", {"height_m": None}),
    "base": ("B-0", {"base_elev_m": 7.25}),
    "no base": ("B-2", {"base_elev_m": None}),
    "storeys of a plot": ("B-3", {"floors": 5}),
    "name and use": ("B-4", {"name": "新名", "use": None}),
}

PIPES = {
    "size under a crown": ("P-0", {"dn_mm": 600.0}),
    "elevation": ("P-0", {"start_elev_m": 1.75}),
    "what heights refer to": ("P-0", {"z_ref": "invert"}),
    "size over depths": ("P-1", {"dn_mm": 400.0}),
    "depth": ("P-1", {"end_depth_m": 2.5}),
    "elevations instead of depths": ("P-1", {"start_elev_m": 3.0, "end_elev_m": 2.75}),
    "size of a line with z": ("P-2", {"od_mm": 800.0}),
    "wall": ("P-2", {"wall_mm": 25.0}),
    "what z refers to": ("P-2", {"z_ref": "crown"}),
    "a size at last": ("P-3", {"od_mm": 110.0}),
    "material": ("P-2", {"material": "PE"}),
}


def rounds(cases):
    """The cases in groups in which each feature is there once: one build checks a whole group."""
    out = []
    for what, (code, values) in cases.items():
        free = next((each for each in out if code not in {known for known, _ in each.values()}), None)
        if free is None:
            out.append(free := {})
        free[what] = code, values
    return out


ROUNDS = [*zip(*(groups + [{}] * 9 for groups in (rounds(BUILDINGS), rounds(PIPES))), strict=False)][:4]


def test_each_case_is_in_a_round():
    assert sum(len(a) + len(b) for a, b in ROUNDS) == len(BUILDINGS) + len(PIPES)


@pytest.mark.parametrize("cases", ROUNDS, ids=range(len(ROUNDS)))
def test_attributes(city, files, tmp_path, cases):
    houses, lines = files.buildings(), files.pipes()
    for code, values in cases[0].values():
        city["building"].update(code, **values)
        houses = by_code(houses, "building_code", code, **values)
    for code, values in cases[1].values():
        city["pipe_water"].update(code, **values)
        lines = by_code(lines, "pipe_code", code, **values)
    files.write(tmp_path / "other", building=houses, pipe_water=lines, valve=files.valves())
    with files.built(tmp_path / "other", tmp_path / "twin2")[0] as other:
        assert_same(city, other)


def shifted(shape, east):
    offset = np.array([east, 0, 0] if shape.has_z else [east, 0])
    return shapely.transform(shape, lambda points: points + offset, include_z=shape.has_z)


def test_everything_moved_at_once_and_twice(city, files, tmp_path):
    """There and further in one transaction: bases follow the ground, links the pipes, a stated base and height stay."""
    tables = {"building": files.buildings(), "pipe_water": files.pipes(), "valve": files.valves()}
    codes = {"building": "building_code", "pipe_water": "pipe_code", "valve": "device_code"}
    with city.editing() as edit:
        for east in (55.0, 130.0):
            for layer_id, table in tables.items():
                for row in table.itertuples():
                    edit[layer_id].update(getattr(row, codes[layer_id]), geometry=shifted(row.geometry, east))
    moved = {
        name: table.set_geometry([shifted(each, 130.0) for each in table.geometry], crs=files.crs)
        for name, table in tables.items()
    }
    files.write(tmp_path / "other", **moved)
    with files.built(tmp_path / "other", tmp_path / "twin2")[0] as other:
        assert_same(city, other)
    assert city["building"].get("B-0")["version"] == 2, "one transaction is one version"


def test_put_and_delete(city, files, tmp_path):
    new = by_code(files.buildings(), "building_code", "B-1", floors=None, name="换").iloc[[1]]
    extra = files.buildings().iloc[[0]].assign(building_code="B-9", height_m=5.0)
    extra = extra.set_geometry([files.square(37)], crs=files.crs)
    with city.editing() as edit:
        edit["building"].put(new.assign(source="building.gpkg").set_index("building_code", drop=False))
        edit["building"].put(extra.assign(source="building.gpkg").set_index("building_code", drop=False))
        edit["building"].delete(["B-0", "B-3"])
        edit["pipe_water"].delete("P-0")
    kept = files.buildings().iloc[[2, 4, 5]]
    files.write(
        tmp_path / "other",
        building=pd.concat([kept, new, extra]),
        pipe_water=files.pipes().iloc[1:],
        valve=files.valves(),
    )
    with files.built(tmp_path / "other", tmp_path / "twin2")[0] as other:
        assert_same(city, other)
    assert city["valve"].get("V-0")["link_by"] == "unknown"


def test_a_frame_that_is_read_and_put_back_changes_nothing(city):
    before = {layer_id: content(city, layer_id) for layer_id in LAYERS}
    for layer_id in LAYERS:
        for _ in range(2):
            city[layer_id].put(city[layer_id].query())
    for layer_id in LAYERS:
        for name, (values, shape, mesh) in content(city, layer_id).items():
            was_values, was_shape, was_mesh = before[layer_id][name]
            assert values == pytest.approx(was_values), name
            assert shapely.equals_exact(shape, was_shape, 1e-9), name
            z = [shapely.get_coordinates(each, include_z=True)[:, 2] for each in (shape, was_shape)]
            assert np.allclose(*z, rtol=0, atol=1e-9, equal_nan=True), name
            assert (mesh is None) == (was_mesh is None)
            assert mesh is None or np.abs(decode(mesh.blob).vertices - decode(was_mesh.blob).vertices).max() < 1e-5
    assert city["building"].get("B-0")["version"] == 1
