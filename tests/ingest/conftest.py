import csv
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOWN = ROOT / "sample_data" / "town"


def realdata_folder():
    """Real files with facts in MANIFEST.csv: CITYTWIN_REALDATA, else shared/realdata beside the checkout."""
    named = os.environ.get("CITYTWIN_REALDATA")
    return Path(named) if named else ROOT.parent / "shared" / "realdata"


def manifest():
    path = realdata_folder() / "MANIFEST.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def realdata():
    folder = realdata_folder()
    if not (folder / "MANIFEST.csv").exists():
        pytest.skip("no realdata folder: set CITYTWIN_REALDATA to one with a MANIFEST.csv")
    return folder


@pytest.fixture(scope="session")
def town():
    if not (TOWN / "city.toml").exists():
        pytest.skip("sample_data/town is not built: python sample_data/make_town.py")
    return TOWN
