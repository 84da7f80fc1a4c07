"""WaterML 1.1 as JSON (the form of the USGS water services) -> observations where their gauges stand.

Format: WaterML 1.1 (CUAHSI HIS), `timeSeriesResponse`: `sourceInfo` (site, `geogLocation` with its `srs`), `variable`
(name, unit, `noDataValue`), `values[].value[]` (`dateTime` with offset, `value`, `qualifiers`).
"""

import html
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.sensor import columns as sensor_columns
from ingest.sensor import series as sensor_series
from ingest.table.sheet import Sheet, slices
from ingest.vector.reader import ids_name
from layers import crs
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.source import Hints, Reading

SUFFIXES = (".json",)

MAX_BYTES = 256 << 20
_HEADER = ("device", "time", "quantity", "value", "unit", "quality", "lon", "lat", "name")


def read(path: Path, hints: Hints) -> Reading:
    """One layer of all series. Raises InvalidInput for a document that is too large or not as the format says."""
    name = ids_name(path, hints)
    if path.stat().st_size > MAX_BYTES:
        problem = f"{name} has more than {MAX_BYTES >> 20} MiB, too much for one JSON document."
        raise InvalidInput(problem, "Ask the service for shorter periods.", code="WATERML_TOO_LARGE")
    try:
        series = json.loads(path.read_text("utf-8-sig"))["value"]["timeSeries"]
        systems = {str(_place(each)["srs"]) for each in series}
        first = next(islice(_rows(series), 1), None)
        for _ in _rows(series):
            pass
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        problem = f"{name} is not WaterML as it should be: {type(error).__name__} {error}."
        raise InvalidInput(problem, "Ask the service for it again.", code="WATERML_INVALID") from error
    if first is None:
        raise InvalidInput(f"{name} holds no values.", "Ask for another period.", code="FILE_EMPTY")
    if len(systems) > 1:
        said = ", ".join(sorted(systems))
        raise InvalidInput(f"{name} mixes coordinate systems: {said}.", "Split it by system.", code="CRS_MIXED")
    sheet = Sheet(
        path, name, path.name.split(".")[0], None, pa.schema([(each, pa.string()) for each in _HEADER]),
        lambda: enumerate(_rows(series), 1), "value",
    )  # fmt: skip
    told = replace(hints, layer="sensor_obs", columns={}, crs=hints.crs or crs.name(systems.pop()))
    sample = next(slices(sheet, sensor_columns.SAMPLE_ROWS)).table
    plan = sensor_columns.plan(sample, told, "lon", "lat")
    if plan is None:
        raise InvalidInput(f"{name} holds no time that can be read.", "Ask for it again.", code="WATERML_INVALID")
    layer = sensor_series.layer(sheet, plan, told)
    return Reading(path, "WaterML JSON", [layer], layer.certificate or Certificate("none"))


def _place(series: dict[str, Any]) -> dict[str, Any]:
    return dict(series["sourceInfo"]["geoLocation"]["geogLocation"])


def _rows(series: list[dict[str, Any]]) -> Iterator[list[str]]:
    """One row a value, under _HEADER."""
    for each in series:
        source, variable, place = each["sourceInfo"], each["variable"], _place(each)
        site = str(source["siteCode"][0]["value"])
        unit = str(variable["unit"]["unitCode"])
        quantity = html.unescape(str(variable["variableName"])).rpartition(",")[0] or str(variable["variableName"])
        nothing = variable.get("noDataValue")
        lon, lat, title = str(place["longitude"]), str(place["latitude"]), str(source.get("siteName", ""))
        for group in each["values"]:
            for one in group["value"]:
                text = str(one["value"])
                is_none = nothing is not None and _same(text, nothing)
                marks = " ".join(str(mark) for mark in one.get("qualifiers", ()))
                yield [site, str(one["dateTime"]), quantity, "" if is_none else text, unit, marks, lon, lat, title]


def _same(text: str, nothing: object) -> bool:
    try:
        return float(text) == float(str(nothing))
    except ValueError:
        return False
