"""P12 on a house that somebody else drew: every pair as manifold3d says it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import twin
from server.build import build
from twin.analysis.bim_clash import clashes
from twin.analysis.bim_clash_contacts import HARD
from twin.analysis.model_diff_models import models

REAL = Path(os.environ.get("CITYTWIN_REALDATA", Path(__file__).parents[4] / "shared" / "realdata")) / "ifc"
HOUSE = REAL / "ac20_fzk_haus_ifc4.ifc"
PLACE = """crs = "EPSG:25832"
vertical_crs = "EPSG:5783"
[[source]]
path = "*.ifc"
control_points = [
  {from = [0.0, 0.0, 0.0], to = [451000.0, 5430000.0, 100.0]},
  {from = [100.0, 0.0, 0.0], to = [451100.0, 5430000.0, 100.0]},
]
"""
SOFT_M = 0.05


@pytest.mark.slow
@pytest.mark.skipif(not HOUSE.exists(), reason="no realdata folder: set CITYTWIN_REALDATA to one with ifc/")
def test_every_pair_of_a_real_house_is_as_manifold_says(tmp_path):
    (tmp_path / "files").mkdir()
    shutil.copy(HOUSE, tmp_path / "files")
    (tmp_path / "files" / "city.toml").write_text(PLACE)
    build(tmp_path / "files", tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city:
        elements = models(city, "elements", {"collection": "bim_element"})
    told = clashes(elements, soft_gap_m=SOFT_M)
    found = {(each.a, each.b): each for each in told.found}
    bodies = [each.solid.body for each in told.elements]
    low, high = (np.array([getattr(each.solid, end) for each in told.elements]) for end in ("low", "high"))
    n = 0
    for a in range(len(bodies)):
        for b in range(a + 1, len(bodies)):
            if bodies[a] is None or bodies[b] is None or np.maximum(low[a] - high[b], low[b] - high[a]).max() > SOFT_M:
                assert (a, b) not in found or None in {bodies[a], bodies[b]}
                continue
            n += 1
            shared = bodies[a] ^ bodies[b]
            thickness = 2 * shared.volume() / shared.surface_area() if shared.volume() > 0 else 0.0
            gap = bodies[a].min_gap(bodies[b], 2 * SOFT_M)
            if thickness > 1e-4:
                assert found[a, b].kind == HARD
                assert found[a, b].volume_m3 == pytest.approx(shared.volume(), rel=1e-9)
            elif gap <= SOFT_M:
                assert found[a, b].gap_m == pytest.approx(gap, abs=1e-6)
            else:
                assert (a, b) not in found
    assert n > 100
    assert any(each.kind == HARD for each in told.found)
