"""Exported tilesets before Cesium's own validator, contents and subtrees included."""

import pytest

from tests.tiles.test_export import Here
from tests.tiles.towns import city
from tiles.export import models, run
from tiles.export.folder import Folder
from tiles.export.target import Place
from tiles.tileset import FORMS, Tileset
from twin.scope import EVERYTHING


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    Here.city = city(6000, 3000.0)
    tileset = Tileset(Here.city, "building", EVERYTHING)
    assert tileset.tree.depth > 2
    made = models.stage(tileset, FORMS)
    run.export(Place(str(out)), lambda _: iter([made]), {models.MAKER: Here}, n_workers=0, target=Folder(out))
    return out


@pytest.mark.parametrize("form", FORMS)
def test_the_validator_finds_no_fault(exported, tiles_validator, form):
    assert tiles_validator(exported / models.folder("building", form)) == []
