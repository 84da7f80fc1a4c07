"""Rules beside the sources go into the twin, checked; they are no unknown files."""

import geopandas
import pytest
import shapely

from layers.errors import CityTwinError
from server.build import build
from twin.supervision import rules

RULE = "rules:\n  - {id: pit-dangerous, value: 2.5}\n"


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    (folder / "rules").mkdir(parents=True)
    frame = geopandas.GeoDataFrame({"height_m": [9.0]}, geometry=[shapely.box(598000, 3110000, 598010, 3110010)])
    frame.set_crs("EPSG:4549").to_file(folder / "building.gpkg", layer="building")
    return folder


def test_rules_and_schedule_reach_the_twin_and_what_it_has_stays(files, tmp_path):
    (files / "rules/own.yaml").write_text(RULE)
    (files / "supervision.toml").write_text('[[schedule]]\nsupervision = "water"\nevery_h = 24\n')
    twin_dir = tmp_path / "twin"
    (twin_dir / "rules").mkdir(parents=True)
    (twin_dir / "rules/by-hand.yaml").write_text("rules:\n  - {id: pit-over-scale, value: 4.0}\n")
    result = build(files, twin_dir)
    assert result.exit_code == 0
    assert [report.source for report in result.reports] == ["building.gpkg"]
    found = {each.id: each.value for each in rules.load(twin_dir)}
    assert (found["pit-dangerous"], found["pit-over-scale"]) == (2.5, 4.0)
    assert (twin_dir / "supervision.toml").is_file()
    (files / "rules/own.yaml").write_text(RULE.replace("2.5", "2.0"))
    build(files, twin_dir)
    assert next(each.value for each in rules.load(twin_dir) if each.id == "pit-dangerous") == 2.0


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rules/own.yaml", "rules:\n  - {id: pit-dangerous, valve: 2}\n", "own.yaml: rules/0"),
        ("rules/own.yaml", "rules: [", "own.yaml is no YAML"),
        ("indicators/own.yaml", "indicators: 3", "own.yaml"),
        ("supervision.toml", "[[schedule]]\nevery_h = 1\n", "supervise-None"),
    ],
    ids=["key", "yaml", "indicators", "schedule"],
)
def test_a_wrong_rule_stops_the_build_and_is_named(files, tmp_path, name, text, says):
    (files / name).parent.mkdir(exist_ok=True)
    (files / name).write_text(text)
    with pytest.raises(CityTwinError, match=says):
        build(files, tmp_path / "twin")


def test_a_link_is_not_followed(files, tmp_path):
    (tmp_path / "secret.yaml").write_text(RULE)
    (files / "rules/own.yaml").symlink_to(tmp_path / "secret.yaml")
    build(files, tmp_path / "twin")
    assert not (tmp_path / "twin/rules").exists()
