"""When a series reaches a target, if it goes on as it did: Theil-Sen slope, with the range its confidence leaves.

Sen 1968, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63(324): the median of the slopes of
all pairs of points, and from the distribution of Kendall's tau an interval of the slope.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from twin.analysis.verdict import Comparator, holds

FEWEST = 3
CONFIDENCE = 0.9
FARTHEST_DAYS = 36_525
"""Nothing is told that is farther off than a hundred years."""
DAYS_A_YEAR = 365.25
State = Literal["met", "expected", "not-expected", "too-few", "no-target", "unknown"]


@dataclass(frozen=True)
class Forecast:
    """When a target is met.

    Attributes
    ----------
    state : `met` already; `expected` on `date`; `not-expected` within a hundred years as it goes; `too-few` points
    date, earliest, latest : of meeting it; `latest` None: not even that is sure
    slope_per_year, slope_low, slope_high : of the value, with the interval
    n, first, last : points used
    """

    state: State
    n: int
    date: dt.date | None = None
    earliest: dt.date | None = None
    latest: dt.date | None = None
    slope_per_year: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    first: dt.date | None = None
    last: dt.date | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        made = {
            name: (value.isoformat() if isinstance(value, dt.date) else value) for name, value in vars(self).items()
        }
        return made | {"method": "Theil-Sen", "confidence": CONFIDENCE, "fewest_points": FEWEST}


def forecast(
    days: Sequence[dt.date], values: Sequence[float], comparator: Comparator, target: float | None
) -> Forecast:
    """When the line through a series passes its target.

    Parameters
    ----------
    days, values : (n,) one value a day at most; in any order
    comparator, target : as the indicator has them

    Notes
    -----
    The line goes through the medians of days and values with the median slope. The range takes the ends of the slope's
    interval through the same point: an interval, not a promise. At least three points on different days are needed.
    """
    from scipy.stats import theilslopes

    n = len(days)
    if n == 0:
        return Forecast("unknown", 0)
    order = np.argsort([day.toordinal() for day in days], kind="stable")
    x = np.array([days[i].toordinal() for i in order], np.float64)
    y = np.array([values[i] for i in order], np.float64)
    first, last = days[int(order[0])], days[int(order[-1])]
    if target is None:
        return Forecast("no-target", n, first=first, last=last)
    if holds(y[-1], comparator, target).item():
        return Forecast("met", n, date=last, first=first, last=last)
    if n < FEWEST or len(np.unique(x)) < FEWEST:
        return Forecast("too-few", n, first=first, last=last)
    found = theilslopes(y, x, alpha=CONFIDENCE)
    slope, low, high = float(found.slope), float(found.low_slope), float(found.high_slope)
    centre = float(np.median(x)), float(np.median(y))
    rising = comparator in {">=", ">"}
    fast, slow = (high, low) if rising else (low, high)
    when, soonest, last_day = (_reached(each, centre, target, x[-1], rising) for each in (slope, fast, slow))
    told = (slope * DAYS_A_YEAR, low * DAYS_A_YEAR, high * DAYS_A_YEAR)
    state: State = "not-expected" if when is None else "expected"
    return Forecast(state, n, when, soonest, None if when is None else last_day, *told, first, last)


def _reached(slope: float, centre: tuple[float, float], target: float, last: float, rising: bool) -> dt.date | None:
    """The first day after the last point on which a line through `centre` is at the target; None: not in its way."""
    if (slope <= 0.0) if rising else (slope >= 0.0):
        return None
    day = max(centre[0] + (target - centre[1]) / slope, last + 1.0)
    return None if day - last > FARTHEST_DAYS else dt.date.fromordinal(int(np.ceil(day - 1e-9)))
