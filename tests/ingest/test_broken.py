"""Every broken file gets its own complaint, with a next step; real broken files neither crash nor pass in silence."""

import importlib.util
import json
import tempfile
from pathlib import Path

import pytest

from ingest import reader_for, suffix_of
from layers.errors import CityTwinError, InvalidInput
from layers.source import AssetLayer, Hints
from tests.ingest.conftest import realdata_folder

SCRIPT = Path(__file__).parents[1] / "data" / "broken" / "make_broken.py"
_spec = importlib.util.spec_from_file_location("make_broken", SCRIPT)
make_broken = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_broken)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the writers warn about what is made wrong on purpose
        make_broken.main(folder)
    return folder


def complaints(path, hints):
    """[(code, words)] of the refusal, the issues and the rejects, and how much was read."""
    try:
        reading = reader_for(path).read(path, hints)
        said = [(issue.code, f"{issue.where} {issue.message} {issue.hint}") for issue in reading.issues]
        n_good = 0
        for layer in reading.layers:
            if isinstance(layer, AssetLayer):
                with tempfile.TemporaryDirectory() as folder:
                    issues = layer.write(Path(folder) / f"x{layer.suffix}")
                n_good += 1
                said += [(issue.code, issue.message) for issue in issues]
                continue
            n_good += sum(len(batch) for batch in layer.batches())
            assert n_good + len(layer.rejects) == layer.n_read or len(reading.layers) > 1
            said += [(issue.code, issue.message) for issue in layer.issues]
            said += [(reject.code, f"{reject.where} {reject.message}") for reject in layer.rejects]
    except CityTwinError as error:
        return [(error.code, str(error))], 0
    return said, n_good


def test_every_broken_file_is_listed_and_every_listed_file_is_there(broken):
    listed = json.loads((broken / "expected.json").read_text("utf8"))
    main_files = {path.name for path in broken.iterdir() if path.suffix not in {".dbf", ".shx", ".prj", ".cpg"}}
    assert main_files - {"expected.json"} == set(listed)


@pytest.mark.parametrize("name", make_broken.EXPECTED)
def test_each_broken_file_gets_its_own_complaint(broken, name):
    said, n_good = complaints(broken / name, Hints(root=broken))
    assert [code for code, _ in said] == [make_broken.EXPECTED[name]]
    assert n_good == 0
    [(_, words)] = said
    assert Path(name).stem.split(".")[0] in words or name in words
    assert len(words) > 30


def test_refusals_for_want_of_a_crs_are_cured_by_the_lines_they_print(broken):
    for name in ("no_prj.shp", "no_crs.csv", "no_crs.city.json", "no_crs.las", "no_crs.inp", "dem_no_crs.asc"):
        layer = "building" if name.endswith(".shp") else None
        said, n_good = complaints(broken / name, Hints(root=broken, crs="EPSG:4549", layer=layer))
        assert n_good > 0, said


BAD = realdata_folder() / "bad"
REAL = (
    sorted(path.name for path in BAD.glob("*") if suffix_of(path) and suffix_of(path) != ".ifc") if BAD.exists() else []
)


@pytest.mark.parametrize("name", REAL or ["none"])
def test_real_broken_files_are_named(realdata, name):
    if name == "none":
        pytest.skip("no realdata folder")
    said, n_good = complaints(realdata / "bad" / name, Hints(root=realdata))
    assert (n_good, bool(said)) == (0, True)


def test_a_shapefile_whose_records_run_too_far_is_not_read_in_silence(realdata):
    nowhere = "+proj=tmerc +ellps=GRS80 +units=m"
    said, n_good = complaints(realdata / "bad" / "corrupt_too_long.shp", Hints(root=realdata, crs=nowhere))
    assert n_good == 10 or said  # GDAL finds 10 whole lines


def test_a_format_nobody_reads_names_those_that_are():
    with pytest.raises(InvalidInput, match=r"\.gpkg"):
        reader_for(Path("x.docx"))
