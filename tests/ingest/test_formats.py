"""docs/formats.md names every suffix that has a reader, and no other; every reader can be imported."""

import importlib
import re

import pytest

import ingest
from tests.ingest.conftest import ROOT


def test_the_table_of_formats_is_that_of_the_readers():
    rows = [line for line in (ROOT / "docs" / "formats.md").read_text("utf8").splitlines() if line.startswith("| `")]
    named = {suffix for row in rows for suffix in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == set(ingest.READERS)
    assert all(len(row.strip("|").split("|")) == 4 for row in rows)


@pytest.mark.parametrize("module", sorted(set(ingest.READERS.values())))
def test_every_reader_has_its_two_names(module):
    reader = importlib.import_module(f"ingest.{module}")
    assert callable(reader.read)
    assert isinstance(reader.SUFFIXES, tuple)
