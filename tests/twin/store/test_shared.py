"""Shared shapes and textures in the store: kept once, given back whole; truth is what was put in."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import shapely
import trimesh

from layers.errors import NotFound
from layers.mesh import Mesh, Texture, decode, encode, texture_keys
from layers.mesh_copy import fitted, pattern
from twin.scope import EVERYTHING, Scope

IMAGE = Texture("image/jpeg", b"\xff\xd8 pixels", "repeat")
N = 1000


def chair(textures=()):
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    n = len(ball.vertices)
    uv = np.linspace(0, 1, 2 * n, dtype=np.float32).reshape(-1, 2) if textures else None
    colours = np.full((1, 4), 90, np.uint8)
    return Mesh(np.asarray(ball.vertices), np.asarray(ball.faces), None, colours, uv, textures)


def copies(n, textures=()):
    shape = chair(textures)
    made = pattern(shape, shape.vertices)
    rng = np.random.default_rng(1)
    places = []
    for i in range(n):
        matrix = trimesh.transformations.euler_matrix(*rng.uniform(-3, 3, 3))
        matrix[:3, 3] = i % 40 * 2, i // 40 * 2, 10
        places.append(trimesh.transform_points(shape.vertices, matrix))
    return places, [fitted(made, each) for each in places]


def dots(n):
    return [shapely.Point(i, i) for i in range(n)]


def count(store, table):
    with closing(sqlite3.connect(store.path)) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def blob_bytes(store):
    with closing(sqlite3.connect(store.path)) as db:
        own = db.execute("SELECT sum(length(mesh)) FROM gpkg_citytwin_house_mesh_blob").fetchone()[0]
        return own + db.execute("SELECT coalesce(sum(length(mesh)), 0) FROM gpkg_citytwin_shape").fetchone()[0]


def test_a_thousand_chairs_take_a_tenth_and_stand_where_they_stood(store, make):
    layer = make.layer_type(geometry="Point")
    places, meshes = copies(N)
    make.stored(store, layer, make.rows([f"c{i}" for i in range(N)], dots(N), meshes=meshes))
    table = store.mesh_table("house", EVERYTHING)
    back = store.meshes("house", table.fids, EVERYTHING)
    assert blob_bytes(store) < 0.1 * sum(len(each.blob) for each in back)
    assert table.sizes.tolist() == [len(each.blob) for each in back]
    for wanted, found, bounds in zip(places, back, table.bounds, strict=True):
        vertices = decode(found.blob).vertices
        assert np.abs(vertices - wanted).max() < 1e-4
        assert np.abs(bounds - [*wanted.min(axis=0), *wanted.max(axis=0)]).max() < 1e-4
    found = store.mesh_instances("house", table.fids, EVERYTHING)
    assert found.fids.tolist() == table.fids.tolist()
    [key] = set(found.shapes)
    shape = decode(found.blobs[key]).vertices
    placed = shape @ found.matrices[7, :, :3].T + found.matrices[7, :, 3]
    assert np.abs(placed - places[7]).max() < 1e-4
    assert (np.linalg.det(found.matrices[:, :, :3]) > 0).all()
    assert make.stored(store, layer, make.rows([f"c{i}" for i in range(N)], dots(N), meshes=meshes))[0] == (
        ["unchanged"] * N
    )


def test_plain_meshes_and_copies_live_together_in_the_order_asked_for(store, make):
    places, meshes = copies(2)
    plain = encode(Mesh(places[1] + 1, chair().triangles))
    make.stored(store, make.layer_type(geometry="Point"), make.rows(["a", "b", "c"], dots(3), meshes=[*meshes, plain]))
    fids = store.mesh_table("house", EVERYTHING).fids
    back = store.meshes("house", fids[::-1], EVERYTHING)
    assert back[0].blob == plain.blob
    assert np.abs(decode(back[2].blob).vertices - places[0]).max() < 1e-4
    assert store.mesh_instances("house", fids, EVERYTHING).fids.tolist() == fids[:2].tolist()
    assert store.mesh_instances("house", fids[2:], EVERYTHING).shapes == []


def test_a_shape_is_kept_once_across_sources_and_for_closed_versions(store, make):
    layer = make.layer_type(geometry="Point")
    _, meshes = copies(3)
    make.stored(store, layer, make.rows(["a", "b"], dots(2), meshes=meshes[:2]), "one.json")
    make.stored(store, layer, make.rows(["c"], dots(1), meshes=meshes[2:]), "two.json")
    assert count(store, "gpkg_citytwin_shape") == 1
    with store.writing() as batch:
        batch.remove_source("one.json")
        batch.remove_source("two.json")
    assert count(store, "gpkg_citytwin_shape") == 1
    assert count(store, "gpkg_citytwin_house_mesh_history") == 3


def test_textures_are_kept_once_and_only_for_who_may_see_the_layer(store, make):
    textured = chair((IMAGE,))
    plain = [encode(replace(textured, vertices=textured.vertices + i)) for i in range(2)]
    _, shared = copies(2, (IMAGE,))
    make.stored(store, make.layer_type(geometry="Point"), make.rows(list("abcd"), dots(4), meshes=[*plain, *shared]))
    assert count(store, "gpkg_citytwin_texture") == 1
    fids = store.mesh_table("house", EVERYTHING).fids
    for each in store.meshes("house", fids, EVERYTHING):
        assert texture_keys(each.blob) == (IMAGE.key,)
        back = decode(each.blob, lambda key: store.texture(key, EVERYTHING))
        assert back.textures == (IMAGE,)
        assert np.array_equal(back.uv, textured.uv)
    with pytest.raises(NotFound):
        store.texture(IMAGE.key, Scope("stranger", frozenset({"other"})))
    with pytest.raises(NotFound):
        store.texture("0" * 32, EVERYTHING)


def test_what_a_failed_source_brought_in_is_swept_at_the_end_of_its_transaction(store, make):
    layer = make.layer_type(geometry="Point")
    _, bad = copies(2, (IMAGE,))
    _, good = copies(1)
    with store.writing() as batch:
        batch.ensure_layer(layer)
        for path, meshes in (("good.json", good), ("bad.json", bad)):
            batch.begin_source(make.source(path))
            ids = [f"{path}{i}" for i in range(len(meshes))]
            batch.put("house", path, make.rows(ids, dots(len(meshes)), meshes=meshes))
        batch.remove_source("bad.json")
        batch.finish_source(make.source("good.json"), make.report("good.json"))
    assert count(store, "gpkg_citytwin_shape") == 1
    assert count(store, "gpkg_citytwin_texture") == 0
    assert count(store, "gpkg_citytwin_texture_use") == 0


def test_a_store_from_before_reads_and_takes_shapes(store, make):
    with pytest.raises(NotFound):
        store.texture(IMAGE.key, EVERYTHING)
    _, meshes = copies(1)
    make.stored(store, make.layer_type(geometry="Point"), make.rows(["a"], dots(1), meshes=meshes))
    assert len(store.meshes("house", store.mesh_table("house", EVERYTHING).fids, EVERYTHING)) == 1
