"""docs/bad-inputs.md: every case has its row with the codes that the broken files give, every code its line."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "bad-inputs.md").read_text("utf8")
ROOMS = ("ingest", "layers", "twin", "server", "tiles")

SPELLED = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")

NO_CODES = {
    # of GDAL, TIFF and the environment
    "ASPATIAL_VARIANT", "CITYTWIN_FONT",
    "AREA_OR_POINT", "CPL_TMPDIR", "GML_DOWNLOAD_SCHEMA", "IF_SAFER", "NUM_THREADS", "OMP_NUM_THREADS",
    "GDAL_CACHEMAX", "OPENBLAS_NUM_THREADS", "OSM_USE_CUSTOM_INDEXING", "OVERVIEW_RESAMPLING", "SHAPE_RESTORE_SHX",
    "TIFFTAG_DATETIME", "WKT1_GDAL", "WKT2_2019",
    # of WMS and GeoPackage
    "CQL_FILTER", "FEATURE_COUNT", "FORMAT_OPTIONS", "GEOMETRY_NAME", "GPKG_ATTRIBUTES", "INFO_FORMAT",
    "MAP_RESOLUTION", "QUERY_LAYERS", "SPATIAL_INDEX", "VERTICAL_CRS",
    # of SWMM
    "FILLED_CIRCULAR", "FLOW_UNITS", "FORCE_MAIN", "HORIZ_ELLIPSE", "INLET_USAGE", "LID_CONTROLS", "LID_USAGE",
    "LINK_OFFSETS", "RECT_CLOSED", "RECT_OPEN", "RECT_ROUND", "RECT_TRIANGULAR", "VERT_ELLIPSE",
    # of glTF and 3D Tiles
    "CESIUM_RTC", "COLOR_0", "CONTENT_BOUNDING_BOX", "INSTANCES_LENGTH", "TEXCOORD_0", "TILE_BOUNDING_BOX",
    "POINTS_LENGTH", "POSITION_QUANTIZED", "RTC_CENTER", "TILESET_CRS_GEOCENTRIC",
    # names of CRSs and schemas
    "DE_DHHN2016_NH", "DE_DHHN85_NOH", "DE_DHHN92_NH", "ETRS89_UTM31", "ETRS89_UTM32", "ETRS89_UTM33", "IFC4X3_ADD2",
    "CUBIC_METRE", "SQUARE_METRE",
}  # fmt: skip
"""Words of other formats that are spelled like codes."""

_spec = importlib.util.spec_from_file_location(
    "make_broken_codes", Path(__file__).parent / "data/broken/make_broken.py"
)
make_broken = importlib.util.module_from_spec(_spec)
sys.modules["make_broken_codes"] = make_broken
_spec.loader.exec_module(make_broken)


def words_of(path):
    """Codes in a module or a table: what is spelled like one, first arguments of findings and `code=` in one word."""
    if path.suffix == ".yaml":
        yield from re.findall(r"\bcode: ([A-Z_]+)", path.read_text("utf8"))
        return
    tree = ast.parse(path.read_text("utf8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    exported = [node for node in assigned if ast.unparse(node.targets[0]) == "__all__"]
    names = {id(each) for node in exported for each in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in names:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SPELLED.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.Call):
            named = [each.value for each in node.keywords if each.arg == "code"]
            first = node.args[:1] if getattr(node.func, "id", "") in {"Issue", "Reject"} else []
            yield from (
                each.value for each in [*named, *first] if isinstance(each, ast.Constant) and each.value.isupper()
            )


def lines():
    return dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE))


def rows():
    return {int(number): row for number, row in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)}


def test_every_code_of_the_source_has_its_line():
    used = {
        (word, str(path.relative_to(ROOT)))
        for room in ROOMS
        for path in [*(ROOT / room).rglob("*.py"), *(ROOT / room).glob("codes/*.yaml")]
        # the rules of `citytwin verify` have their own page, docs/tiles/verify.md (tests/tiles/test_verify.py)
        if "node_modules" not in path.parts and "verify" not in path.parts
        for word in words_of(path)
        if word not in NO_CODES
    }
    known = lines()
    assert not sorted((word, path) for word, path in used if word not in known)
    assert not sorted(set(known) - {word for word, _ in used}), "no longer used"


def test_all_46_cases_have_a_row_in_both_languages():
    found = rows()
    assert sorted(found) == list(range(1, 47))
    for row in found.values():
        chinese, english, codes, what = row.split(" | ")
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert english.isprintable()
        assert codes
        assert what
    named = {code for row in found.values() for code in re.findall(r"`([A-Z]+_[A-Z0-9_]+)`", row)}
    assert named <= set(lines())


@pytest.mark.parametrize("case", make_broken.CASES, ids=lambda case: case.name)
def test_the_row_of_a_case_names_the_codes_that_its_files_give(case):
    row = rows()[case.number]
    assert all(f"`{code}`" in row for code in case.codes if code)
