"""Series of observations: cases 36 and 37; storage curves: case 38."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from broken.case import Case

START = datetime(2026, 6, 1, tzinfo=UTC)
PLACED = '[[source]]\npath = "*.csv"\ncrs = "EPSG:4490"\n'


def _at(minutes: int) -> str:
    return f"{START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def no_zone(folder: Path) -> None:
    rows = [f"2026-06-01 {hour:02d}:00,{hour}" for hour in range(5)]
    (folder / "水位.csv").write_text("时间,水位(m)\n" + "\n".join(rows) + "\n", "utf8")


def quality(folder: Path) -> None:
    """31 rows of which one repeats another: 26 equal values, -999, a contradiction, mg, the year 2999, a gap."""
    values = ["61.5", *["70.0"] * 24, "-999"]
    rows = [f"YC01,{_at(10 * i)},PM10,{value},ug/m3" for i, value in enumerate(values)]
    rows += [rows[0], f"YC01,{_at(0)},PM10,99.0,ug/m3", f"YC01,{_at(260)},PM10,0.06,mg/m3"]
    rows += [f"YC01,{_at(900)},PM10,60,ug/m3", "YC01,2999-01-01T00:00:00Z,PM10,60,ug/m3"]
    (folder / "obs.csv").write_text("device,time,quantity,value,unit\n" + "\n".join(rows) + "\n", "utf8")


def no_place(folder: Path) -> None:
    places = ["121.0,28.1", "0,0", ","]
    rows = [f"S{i},{_at(60 * hour)},{place},1.{i}" for hour in range(2) for i, place in enumerate(places)]
    (folder / "levels.csv").write_text("device,time,lon,lat,水位(m)\n" + "\n".join(rows) + "\n", "utf8")


def curve(folder: Path) -> None:
    (folder / "lake.csv").write_text("水位(m),库容(万m3)\n29,0\n30,12\n31,9\n32,40\n", "utf8")


CASES = (
    Case(36, "36_no_zone", no_zone, ("TIME_WITHOUT_ZONE",), 5, 5),
    Case(
        36, "36_quality", quality,
        ("OBS_MISSING", "OBS_CONFLICT", "OBS_STUCK", "OBS_UNIT_CHANGED", "OBS_FUTURE", "OBS_GAP", "OBS_OUT_OF_ORDER"),
        31, 30,
    ),
    Case(37, "37_no_place", no_place, ("OBS_WITHOUT_POSITION",), 6, 6, PLACED),
    Case(38, "38_curve", curve, ("RESERVOIR_CURVE_NOT_MONOTONE",)),
)  # fmt: skip
