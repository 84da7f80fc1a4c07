"""A store in a folder that allows no writing: opened as it is, or refused with the true reason."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import shapely

from twin.store.geopackage import GeoPackageStore

LESS = "-dac_override,-dac_read_search"
BOUND = [] if os.geteuid() else ["setpriv", f"--inh-caps={LESS}", f"--bounding-set={LESS}"]
"""Prefix of a command that makes root as bound by permissions as everybody else."""
CODE = """
import json, sys
from pathlib import Path
sys.path.insert(0, ".")
from layers.errors import CityTwinError
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query
try:
    store = GeoPackageStore(Path(sys.argv[1]))
    print(json.dumps(store.count("house", Query(), EVERYTHING)))
except CityTwinError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.skipif(bool(BOUND) and shutil.which("setpriv") is None, reason="root needs setpriv (util-linux)")
def test_a_folder_that_allows_no_writing(tmp_path, make):
    path = tmp_path / "city.gpkg"
    store = GeoPackageStore(path, create=True, city_crs="EPSG:4549")
    make.stored(store, make.layer_type(), make.rows(["a", "b"], [shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)]))
    store.close()
    tmp_path.chmod(0o555)

    def read():
        command = [*BOUND, sys.executable, "-c", CODE, str(path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert read() == 2
    path.chmod(0)
    said = read()
    tmp_path.chmod(0o755)
    assert "permission" in said.lower()
    assert "not a GeoPackage" not in said
