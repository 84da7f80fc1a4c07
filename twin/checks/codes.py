"""Land class codes against the list that the feature names. The stored code stays as it was written."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layers import land_codes
from layers.catalogue import LayerType
from layers.source import FeatureBatch
from twin.fuse.columns import words
from twin.fuse.notes import Notes

Words = NDArray[np.object_]

COLUMNS = ("DLBM", "ydyh_code", "planned_use")
OTHERS = {"sd2017": "ydyh2023", "ydyh2023": "sd2017"}


def check(layer_type: LayerType, batch: FeatureBatch, notes: Notes) -> None:
    """Codes that are not in their list, or are written otherwise than in it. Without `code_system` nothing is judged;
    that it is missing is told by the mapping.
    """
    if layer_type.attribute("code_system") is None:
        return
    systems = words(batch.attributes, "code_system")
    for column in COLUMNS:
        if layer_type.attribute(column) is not None:
            _column(batch.ids, column, words(batch.attributes, column), systems, notes)


def _column(ids: Sequence[str], column: str, given: Words, systems: Words, notes: Notes) -> None:
    pairs = {(code, system) for code, system in zip(given, systems, strict=True) if code and system}
    said = {pair: _said(column, str(pair[0]), str(pair[1])) for pair in pairs}
    for pair, told in said.items():
        if told is None:
            continue
        code, message, hint, is_wrong = told
        found = [name for name, *own in zip(ids, given, systems, strict=True) if tuple(own) == pair]
        notes.add(code, found, [message] * len(found), hint, "warning" if is_wrong else "info")


def _said(column: str, code: str, system: str) -> tuple[str, str, str, bool] | None:
    read = land_codes.read(code, system)
    if read is None:
        message = f"{column} {code!r} is not judged: the list {system!r} is not known here."
        return "LAND_CODE_NOT_JUDGED", message, "Give the codes of ydyh2023 where you can.", False
    if read.standing == "unknown":
        other = OTHERS[system]
        elsewhere = land_codes.read(code, other)
        is_other = elsewhere is not None and elsewhere.standing != "unknown"
        hint = f"It is a code of {other}: correct code_system." if is_other else "Correct the code."
        return "LAND_CODE_UNKNOWN", f"{column} {code!r} is no code of {system}.", hint, True
    if system == "sd2017" and land_codes.needs_detail(read.plain):
        message = f"{column} {code!r} has no single counterpart in ydyh2023."
        return "LAND_CODE_NEEDS_DETAIL", message, "Look the use up before it is compared with a plan.", False
    if read.standing != "known":
        return "LAND_CODE_WRITTEN", f"{column} {code!r} counts as {read.plain}.", "", False
    return None
