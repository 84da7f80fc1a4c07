"""Energy of buildings over twelve months: by building and by group, so that groups add up to the whole."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MONTHS = 12
_MONTH = re.compile(r"(\d{4})\D*?(\d{1,2})(?:\D.*)?")


@dataclass(frozen=True)
class Used:
    """What each building used in a year.

    Attributes
    ----------
    kwh, gas_m3 : (n,) sums of the months that are there
    n_months : (n,) months with electricity; the year's use is known only with all twelve
    n_gas_months : (n,) months with gas
    n_repeated : readings left out: the same month of the same building told again with the same numbers
    """

    kwh: FloatArray
    gas_m3: FloatArray
    n_months: IntArray
    n_gas_months: IntArray
    n_repeated: int

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """(n,) whether every month is there."""
        return self.n_months == MONTHS


def month_number(text: str | None) -> int | None:
    """Months since year 0 of `2025-01`, `202501`, `2025年1月` or `2025/1/31`; None for what is no month."""
    if text is None:
        return None
    plain = text.strip()
    if re.fullmatch(r"\d{6}", plain) or re.fullmatch(r"\d{8}", plain):
        year, month = int(plain[:4]), int(plain[4:6])
    elif found := _MONTH.fullmatch(plain):
        year, month = int(found[1]), int(found[2])
    else:
        return None
    return year * 12 + month - 1 if 1 <= month <= 12 and dt.MINYEAR <= year <= dt.MAXYEAR else None


def used(n: int, building: IntArray, month: IntArray, kwh: FloatArray, gas_m3: FloatArray) -> Used:
    """Readings of one year added up by building.

    Parameters
    ----------
    n : number of buildings
    building : (m,) index of the building each reading is of
    month : (m,) 0 to 11 within the year
    kwh, gas_m3 : (m,) NaN where not read; several meters of one building add up
    """
    keep = np.ones(len(building), bool)
    rows = np.column_stack([building, month, np.nan_to_num(kwh, nan=-1.0), np.nan_to_num(gas_m3, nan=-1.0)])
    if len(rows):
        _, first = np.unique(rows, axis=0, return_index=True)
        keep[:] = False
        keep[first] = True
    building, month, kwh, gas_m3 = building[keep], month[keep], kwh[keep], gas_m3[keep]
    return Used(
        _summed(n, building, kwh), _summed(n, building, gas_m3), _months(n, building, month, kwh),
        _months(n, building, month, gas_m3), int((~keep).sum()),
    )  # fmt: skip


def _summed(n: int, building: IntArray, amount: FloatArray) -> FloatArray:
    return np.bincount(building, weights=np.nan_to_num(amount), minlength=n)


def _months(n: int, building: IntArray, month: IntArray, amount: FloatArray) -> IntArray:
    there = np.zeros((n, MONTHS), bool)
    known = ~np.isnan(amount)
    there[building[known], month[known]] = True
    return there.sum(axis=1).astype(np.int64)


@dataclass(frozen=True)
class Group:
    """What some buildings used together. Intensities are of those with a whole year and a floor area.

    Attributes
    ----------
    n, n_rated : buildings with readings, and those of them that have an intensity
    kwh, gas_m3 : of all of them
    energy_kwh, gfa_m2 : of the rated; `eui` is their quotient, None where none is rated
    co2_kg : of all of them; None without a factor
    co2_rated_kg : of the rated; `co2_m2` is by their floor area
    """

    n: int
    n_rated: int
    kwh: float
    gas_m3: float
    energy_kwh: float
    gfa_m2: float
    co2_kg: float | None
    co2_rated_kg: float | None

    @property
    def eui(self) -> float | None:
        """kWh/m2 in the year."""
        return self.energy_kwh / self.gfa_m2 if self.gfa_m2 > 0 else None

    @property
    def co2_m2(self) -> float | None:
        """kgCO2/m2 in the year."""
        return self.co2_rated_kg / self.gfa_m2 if self.co2_rated_kg is not None and self.gfa_m2 > 0 else None


def grouped(group: Sequence[str], numbers: dict[str, FloatArray], is_rated: NDArray[np.bool_]) -> dict[str, Group]:
    """(n,) names of groups, (n,) numbers of buildings (`kwh`, `gas_m3`, `energy_kwh`, `gfa_m2`, `co2_kg`) -> groups."""
    names = sorted(set(group))
    number = {name: i for i, name in enumerate(names)}
    index = np.array([number[each] for each in group], np.int64)

    def total(name: str, keep: NDArray[np.bool_] | None = None) -> FloatArray:
        values = numbers[name] if keep is None else np.where(keep, numbers[name], 0.0)
        return np.bincount(index, weights=values, minlength=len(names))

    has_co2 = not np.isnan(numbers["co2_kg"]).any()
    n = np.bincount(index, minlength=len(names))
    n_rated = np.bincount(index, weights=is_rated.astype(float), minlength=len(names))
    kwh, gas = total("kwh"), total("gas_m3")
    energy, gfa = total("energy_kwh", is_rated), total("gfa_m2", is_rated)
    co2, co2_rated = total("co2_kg"), total("co2_kg", is_rated)
    return {
        name: Group(
            int(n[i]), int(n_rated[i]), float(kwh[i]), float(gas[i]), float(energy[i]), float(gfa[i]),
            float(co2[i]) if has_co2 else None, float(co2_rated[i]) if has_co2 else None,
        )
        for i, name in enumerate(names)
    }  # fmt: skip


def ranks(values: FloatArray) -> list[int | None]:
    """(n,) 1 for the largest; equal numbers share a rank; None for NaN."""
    known = np.flatnonzero(~np.isnan(values))
    ordered = np.sort(values[known])
    above = len(known) - np.searchsorted(ordered, values[known], side="right")
    made: list[int | None] = [None] * len(values)
    for row, each in zip(known.tolist(), above.tolist(), strict=True):
        made[row] = each + 1
    return made
