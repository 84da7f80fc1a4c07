"""Values of indicators kept over time, beside the city's store, and what they say of the time to come.

`TWIN/indicators.sqlite` has one value an indicator, zone and day; the last one told on a day stays. It may be deleted.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layers.errors import InvalidInput
from twin.supervision.history_trend import Forecast, forecast

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.indicators import Row, Value, Zones

FILE = "indicators.sqlite"
WAIT_S = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS value (
    indicator TEXT NOT NULL, xzqdm TEXT NOT NULL, day TEXT NOT NULL, value REAL NOT NULL, numerator REAL,
    denominator REAL, target REAL, PRIMARY KEY (indicator, xzqdm, day)
) WITHOUT ROWID
"""


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / FILE, timeout=WAIT_S)
    try:
        with connection:
            connection.execute(_TABLE)
            yield connection
    finally:
        connection.close()


def record(city: "City", values: "Sequence[Value]", zones: "Zones", day: dt.date | None = None) -> int:
    """Keep the values of a day (today in the city's own time); unknown ones are left out. Returns how many were kept.

    InvalidInput for an asker who does not see the whole city: the values would be of a part of it.
    """
    if city.scope.layers is not None:
        raise InvalidInput("record: values are kept only for askers who see the whole city.", "Leave it out.")
    date = (day or today()).isoformat()
    rows = [
        (value.indicator.id, row.code, date, row.value, row.numerator, row.denominator, value.indicator.target)
        for value in values
        for row in _rows(value, zones)
        if row.value is not None
    ]
    with _opened(city.folder) as connection:
        connection.executemany("INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return len(rows)


def _rows(value: "Value", zones: "Zones") -> "list[Row]":
    return [*([] if zones.is_part else [value.city]), *(row for row in value.zones if row.kind == "zone")]


def series(city: "City", indicator: str, xzqdm: str = "") -> tuple[list[dt.date], list[float]]:
    """Days and values kept of one indicator for the city (its code, or empty) or a zone, oldest first."""
    if not (city.folder / FILE).is_file():
        return [], []
    with _opened(city.folder) as connection:
        found = connection.execute(
            "SELECT day, value FROM value WHERE indicator = ? AND xzqdm = ? ORDER BY day", (indicator, xzqdm)
        ).fetchall()
    return [dt.date.fromisoformat(day) for day, _ in found], [float(number) for _, number in found]


def forecast_of(city: "City", value: "Value", xzqdm: str = "", day: dt.date | None = None) -> Forecast:
    """When the target is met, from the values kept and the one just told."""
    days, values = series(city, value.indicator.id, xzqdm)
    current = value.city.value
    if current is not None:
        now = day or today()
        keep = [i for i, each in enumerate(days) if each < now]
        days, values = [*(days[i] for i in keep), now], [*(values[i] for i in keep), current]
    return forecast(days, values, value.indicator.comparator, value.indicator.target)


def today() -> dt.date:
    """The day at the city (UTC+8)."""
    return dt.datetime.now(dt.timezone(dt.timedelta(hours=8))).date()
