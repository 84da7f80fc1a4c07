"""The house rules: imports point inwards, one importer of pyproj, nobody else claims our import names."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "layers": set(),
    "ingest": {"layers"},
    "twin": {"layers"},
    "tiles": {"layers", "twin"},
    "server": {"layers", "ingest", "twin", "tiles"},
}
MODULES = sorted(p for room in MAY_IMPORT for p in (ROOT / room).rglob("*.py") if "node_modules" not in p.parts)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_inwards(path):
    room = path.relative_to(ROOT).parts[0]
    others = imported(path) & set(MAY_IMPORT) - {room}
    assert others <= MAY_IMPORT[room]


def test_every_folder_is_there_with_code():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(MAY_IMPORT)


def test_only_one_module_imports_pyproj():
    assert [str(p.relative_to(ROOT)) for p in MODULES if "pyproj" in imported(p)] == ["layers/crs.py"]


def test_no_other_distribution_claims_our_import_names():
    owners = packages_distributions()
    for room in MAY_IMPORT:
        assert set(owners.get(room, [])) <= {"citytwin"}
        assert room not in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    tree = ast.parse(path.read_text("utf8"))
    assert not tree.body or ast.get_docstring(tree)


def test_no_room_without_a_noun():
    assert not [p for p in MODULES if p.stem in {"utils", "helpers", "common", "manager", "misc"}]
