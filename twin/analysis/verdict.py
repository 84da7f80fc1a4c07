"""How a measured number stands to its limit, and what several verdicts come to.

Numbers that are equal on paper are equal here: they are compared with `SAME` (REQUIREMENTS F). A number that is not
there (NaN) is `unknown`, whatever the limit; a limit that is not there makes everything `unknown`.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Verdict = Literal["pass", "fail", "review", "unknown"]
WORST_FIRST: tuple[Verdict, ...] = ("fail", "review", "unknown", "pass")
SAME = 1e-6

Comparator = Literal[">=", ">", "<=", "<"]
"""Of the measured number to the limit, where it passes."""


def holds(measured: ArrayLike, comparator: Comparator, limit: ArrayLike, same: float = SAME) -> NDArray[np.bool_]:
    """(n,) whether numbers stand to limits as they should; False where either is NaN."""
    a, b = np.broadcast_arrays(np.asarray(measured, np.float64), np.asarray(limit, np.float64))
    with np.errstate(invalid="ignore"):
        return {">=": a >= b - same, ">": a > b + same, "<=": a <= b + same, "<": a < b - same}[comparator]


def verdicts(measured: ArrayLike, comparator: Comparator, limit: ArrayLike, same: float = SAME) -> NDArray[np.object_]:
    """(n,) pass, fail, or unknown where either number is NaN."""
    a, b = np.broadcast_arrays(np.asarray(measured, np.float64), np.asarray(limit, np.float64))
    is_known = ~(np.isnan(a) | np.isnan(b))
    return np.where(is_known, np.where(holds(a, comparator, b, same), "pass", "fail"), "unknown").astype(object)


def verdict(measured: float | None, comparator: Comparator, limit: float | None, same: float = SAME) -> Verdict:
    """Of one number; None is not there."""
    numbers = (np.nan if measured is None else measured), (np.nan if limit is None else limit)
    found: Verdict = verdicts(numbers[0], comparator, numbers[1], same).item()
    return found


def worst(found: Iterable[Verdict]) -> Verdict:
    """What several come to: one fail makes it fail, then review, then unknown; `unknown` for none."""
    seen = set(found)
    return next((each for each in WORST_FIRST if each in seen), "unknown")
