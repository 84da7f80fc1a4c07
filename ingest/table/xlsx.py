"""Workbooks (.xlsx, .xls): every sheet a table, as `ingest.table.csv_reader` reads CSV."""

from dataclasses import replace
from pathlib import Path

from ingest.table import csv_reader as table
from ingest.table import xlsx_sheets
from layers.source import Hints, Reading

SUFFIXES = (".xlsx", ".xls")


def read(path: Path, hints: Hints) -> Reading:
    """A layer for each sheet. Raises InvalidInput or CrsMissing when none can be used."""
    sheets, issues = xlsx_sheets.opened(path, hints)
    reading = table.reading(sheets, path, "XLSX" if path.suffix.lower() == ".xlsx" else "XLS", hints)
    return replace(reading, issues=[*issues, *reading.issues])
