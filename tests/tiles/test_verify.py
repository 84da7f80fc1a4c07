"""Every rule of `citytwin verify` is seen to fire on a tile broken in that way, and sound tiles give nothing."""

import re
from pathlib import Path

import pytest

from layers.errors import InvalidInput, NotFound
from tests.tiles import verify_samples as samples
from tests.tiles.verify_broken import BROKEN
from tiles.verify import verify
from tiles.verify.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "tiles" / "verify.md"
ELSEWHERE = {"TOO_LARGE", "LIMIT_REACHED", "NOTHING_FOUND"}
"""Seen in test_verify_hostile.py and test_verify_server.py."""


@pytest.mark.parametrize("part", samples.WRITERS)
def test_sound_tiles_give_nothing(tmp_path, part):
    samples.WRITERS[part](tmp_path / part)
    report = verify(tmp_path / part)
    assert report.issues == ()
    assert report.is_clean
    assert report.is_complete
    assert sum(report.checked.values()) >= 2


def test_all_of_it_is_read_in_one_go(tmp_path):
    samples.write_all(tmp_path)
    report = verify(tmp_path)
    assert report.issues == ()
    assert report.checked == {
        "tileset": 4, "glTF": 8, "subtree": 3, "layer.json": 1, "terrain": 6, "tilejson": 2, "mvt": 1, "raster": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "breaks", "part"),
    [row[:1] + row[2:] for row in BROKEN],
    ids=[f"{row[0]}-{row[1].split(' at 0x')[0]}" for row in BROKEN],  # a function says where it lies in memory
)
def test_each_broken_tile_gets_its_own_complaint(tmp_path, code, breaks, part):
    samples.WRITERS[part](tmp_path / part)
    breaks(tmp_path)
    report = verify(tmp_path / part)
    assert code in report.counts, report.issues
    first = next(issue for issue in report.issues if issue.code == code)
    assert first.severity == RULES[code].severity
    assert first.where
    assert first.message.endswith((".", ". "))
    assert report.is_clean == (RULES[code].severity == "info" and set(report.counts) == {code})


def test_a_loose_implicit_root_is_no_fault(tmp_path):
    samples.write_implicit(tmp_path)
    (tmp_path / "tileset.json").rename(tmp_path / "set.json")
    tight = {"boundingVolume": samples.volume((1, 1, 0), (159, 159, 20)), "geometricError": 64, "refine": "ADD"}
    samples.write_json(tmp_path / "tileset.json", samples.tileset(tight | {"content": {"uri": "set.json"}}))
    report = verify(tmp_path / "tileset.json")
    assert report.issues == ()
    assert report.checked == {"tileset": 2, "subtree": 2, "glTF": 3}


def flat_box_in_a_region(folder, half_m, top_m):
    """A tile with a region up to 10 m, and below it a flat box up to `top_m`."""
    side = half_m / 6_378_137
    region = [
        samples.LON - side * 1.2,
        samples.LAT - side * 1.2,
        samples.LON + side * 1.2,
        samples.LAT + side * 1.2,
        0,
        10,
    ]
    box = samples.volume((-half_m, -half_m, 1), (half_m, half_m, top_m))
    below = {"boundingVolume": box, "geometricError": 0, "transform": samples.enu_matrix()}
    root = {"boundingVolume": {"region": region}, "geometricError": 1, "refine": "ADD", "children": [below]}
    samples.write_json(folder / "tileset.json", samples.tileset(root))
    return verify(folder)


def test_a_flat_box_may_stand_off_a_curved_region_by_its_sagitta(tmp_path):
    assert flat_box_in_a_region(tmp_path, 500, 10).counts == {}  # corners are 39 mm higher than the middle
    assert flat_box_in_a_region(tmp_path, 500, 10.1).counts == {"TILE_OUTSIDE_PARENT": 1}
    assert flat_box_in_a_region(tmp_path, 50, 10).counts == {}
    assert flat_box_in_a_region(tmp_path, 50, 10.01).counts == {"TILE_OUTSIDE_PARENT": 1}


def test_every_rule_is_broken_once():
    assert set(RULES) - {row[0] for row in BROKEN} == ELSEWHERE


def test_the_page_lists_the_rules_as_they_are():
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (\w+) \| (.+?) \|$", PAGE.read_text("utf8"), re.MULTILINE)
    assert {code: (severity, says) for code, severity, says in rows} == {
        code: (rule.severity, rule.says.replace("|", "\\|")) for code, rule in RULES.items()
    }
    assert len(rows) == len(RULES)


def test_what_is_no_tile_is_refused(tmp_path):
    with pytest.raises(NotFound, match="There is no"):
        verify(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="has no tiles"):
        verify(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(InvalidInput, match="but of no tiles"):
        verify(tmp_path / "notes.json")
    with pytest.raises(InvalidInput, match="has no tiles"):
        verify(tmp_path)
    with pytest.raises(InvalidInput, match="limit is 0"):
        verify(tmp_path, limit=0)
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG")
    with pytest.raises(InvalidInput, match="holds no tiles"):
        verify(tmp_path / "picture.bin")


@pytest.mark.parametrize("name", ["explicit/a.glb", "implicit/subtrees/0_0_0.subtree", "terrain/1/2/0.terrain",
                                  f"vector/{samples.VECTOR_TILE}", "explicit/sub/../b.glb"])  # fmt: skip
def test_single_files_are_read(tmp_path, name):
    samples.write_all(tmp_path)
    report = verify(tmp_path / name)
    assert set(report.counts) <= {"SUBTREE_METADATA"}  # the schema of a subtree is in its tileset
    assert sum(report.checked.values()) == 1


def test_the_checker_shares_nothing_with_the_writers():
    import ast

    folder = Path(__file__).parents[2] / "tiles" / "verify"
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            own = [name for name in names if name.split(".")[0] in {"tiles", "twin", "ingest", "server"}]
            assert all(name.startswith("tiles.verify") for name in own), path.name
