"""Cells of a value column -> numbers, and which of them say «no value»."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import units
from layers import observations

_WORDS = pa.array(sorted(observations.missing_words()), pa.string())
_NUMBERS = np.array(observations.missing_numbers())


@dataclass(frozen=True)
class Numbers:
    """n cells.

    Attributes
    ----------
    values : (n,) NaN where missing or unreadable
    missing : (n,) True where the cell is empty, a word, or a number that means «no value»
    coded : (n,) True where it was such a number (-999 …)
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]
    coded: NDArray[np.bool_]

    @property
    def unreadable(self) -> NDArray[np.bool_]:
        """(n,) True where there is text that is no number."""
        return np.asarray(np.isnan(self.values) & ~self.missing)


def numbers(array: pa.Array) -> Numbers:
    """One column, text or already numbers. Text is parsed at once where it is plain, else each distinct one."""
    if pa.types.is_string(array.type):
        text = pc.utf8_trim_whitespace(array)
        blank = pc.fill_null(pc.is_in(pc.utf8_lower(text), value_set=_WORDS), fill_value=True)
        blank = pc.or_(blank, pc.is_null(text))
        try:
            floats = pc.cast(pc.if_else(blank, None, text), pa.float64())
        except pa.ArrowInvalid:
            floats = _each(text)
    elif pa.types.is_floating(array.type) or pa.types.is_integer(array.type) or pa.types.is_decimal(array.type):
        floats = pc.cast(array, pa.float64(), safe=False)
        blank = pc.is_null(array, nan_is_null=pa.types.is_floating(array.type))
    else:
        floats, blank = pa.nulls(len(array), pa.float64()), pc.is_null(array)
    values = np.array(floats.to_numpy(zero_copy_only=False), np.float64)
    missing = np.array(blank.to_numpy(zero_copy_only=False), bool)
    coded = np.isin(values, _NUMBERS)
    missing |= coded
    values[missing | ~np.isfinite(values)] = np.nan
    return Numbers(values, missing, coded)


def _each(text: pa.Array) -> pa.Array:
    coded = pc.dictionary_encode(text)
    made = pa.array([None if each is None else _one(each) for each in coded.dictionary.to_pylist()], pa.float64())
    return pc.take(made, coded.indices)


def _one(text: str) -> float | None:
    if text.lower() in observations.missing_words():
        return None
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return units.number(text, None, None)
