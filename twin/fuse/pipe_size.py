"""How thick a pipe is: columns of numbers, and sections written as text (`1000x800`, `DN300`)."""

import re
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from layers import catalogue
from twin.fuse.columns import numbers, with_column, words
from twin.fuse.extrude import FloatArray
from twin.fuse.notes import Notes

MM = 0.001
SMALLEST_BOX_MM = 20.0
"""Two numbers below this are metres or something else: which, is not guessed."""

ROUND, BOX, EGG = 0, 1, 2

_BOX = re.compile(r"^\D{0,4}?(\d+(?:\.\d+)?)\s*[xX*\u00d7\uff38\uff58\uff0a]\s*(\d+(?:\.\d+)?)\s*(?:mm|毫米)?$")
_ROUND = re.compile(r"^(?:DN|dn|D|d|\u03c6|\u03a6|\u00f8)?\s*(\d+(?:\.\d+)?)\s*(?:mm|毫米)?$")


@dataclass(frozen=True)
class Size:
    """(n,) outer width and height in metres, NaN where unknown; `inner_m` is the height of the clear section."""

    width_m: FloatArray
    height_m: FloatArray
    inner_m: FloatArray
    shape: NDArray[np.int64]


def read_sections(names: NDArray[np.object_], attributes: pa.Table, extra: list[str | None], notes: Notes) -> pa.Table:
    """Fill `width_mm` and `height_mm` (or `dn_mm`) from a section given as text, where numbers are absent.

    The text is in `section`, or in `extra` under a name of the diameter's or the section's column, where it was put
    because it is no number. Width comes before height (CJJ 61-2017, table of pipe lines: width x height in mm).
    """
    dn, wide, high = (numbers(attributes, name) for name in ("dn_mm", "width_mm", "height_mm"))
    open_ = np.isnan(dn) & np.isnan(numbers(attributes, "od_mm")) & (np.isnan(wide) | np.isnan(high))
    texts = words(attributes, "section")
    columns = _columns()
    found: dict[int, str] = {}
    unclear: dict[int, str] = {}
    for row in np.flatnonzero(open_).tolist():
        text = texts[row] if texts[row] is not None else _from_extra(extra[row], columns)
        if text is None:
            continue
        box, single = _BOX.match(text), _ROUND.match(text)
        if box and min(float(box[1]), float(box[2])) >= SMALLEST_BOX_MM:
            wide[row], high[row] = float(box[1]), float(box[2])
            found[row] = text
        elif single and float(single[1]) >= SMALLEST_BOX_MM:
            dn[row] = float(single[1])
        else:
            unclear[row] = text
    notes.add(
        "PIPE_SECTION_READ",
        names[list(found)],
        [f"Section {text!r} is read as width x height in mm." for text in found.values()],
        "",
        "info",
    )
    notes.add("PIPE_SECTION_UNCLEAR", names[list(unclear)],
              [f"Section {text!r} is not understood as millimetres." for text in unclear.values()],
              "Write width x height in mm, such as 1000x800.", "warning")  # fmt: skip
    if not open_.any():
        return attributes
    for name, values in (("dn_mm", dn), ("width_mm", wide), ("height_mm", high)):
        if name in attributes.column_names:
            attributes = with_column(attributes, name, values, pa.float64())
    return attributes


def _columns() -> set[str]:
    pipe = catalogue.layer_type("pipe_water")
    found = [pipe.attribute(name) for name in ("dn_mm", "section")]
    return {alias.lower() for each in found if each is not None for alias in (*each.aliases, each.name, each.title.zh)}


def _from_extra(extra: str | None, columns: set[str]) -> str | None:
    if not extra:
        return None
    given = orjson.loads(extra)
    return next((v.strip() for key, v in given.items() if key.lower() in columns and isinstance(v, str)), None)


def size(names: NDArray[np.object_], attributes: pa.Table, notes: Notes) -> Size:
    """Outer diameter, else width x height, else nominal diameter, which is noted. A wall is added where it is given."""
    columns = ("od_mm", "dn_mm", "width_mm", "height_mm", "wall_mm")
    od, dn, wide, high, wall = (numbers(attributes, name) * MM for name in columns)
    od, dn, wide, high = (np.where(value > 0, value, np.nan) for value in (od, dn, wide, high))
    walls = np.where(wall > 0, 2 * wall, 0.0)
    is_box = np.isnan(od) & np.isfinite(wide) & np.isfinite(high)
    by_dn = np.isnan(od) & ~is_box & np.isfinite(dn)
    bare = by_dn & (walls == 0)
    notes.add("OD_FROM_DN", names[bare], [f"No outer diameter: drawn with dn {value * 1000:.0f} mm."
              for value in dn[bare]], "Give od_mm; clearances are short by the wall until then.", "info")  # fmt: skip
    outer = np.where(by_dn, dn + walls, od)
    none = np.isnan(outer) & ~is_box
    notes.add("PIPE_SIZE_MISSING", names[none], ["No diameter and no section: stored without a mesh."]
              * int(none.sum()), "Give od_mm or dn_mm, or width_mm and height_mm.", "warning")  # fmt: skip
    inner = np.where(is_box, high, np.where(np.isfinite(od - walls) & (walls > 0), od - walls, np.fmin(dn, outer)))
    kind = words(attributes, "section_shape")
    as_box = is_box & np.isin(kind, ["arch", "trapezoid", "other"])
    notes.add("PIPE_DRAWN_AS_BOX", names[as_box], [f"Section {value!r} is drawn as the box around it."
              for value in kind[as_box]], "", "info")  # fmt: skip
    shape = np.where(is_box, np.where(kind == "egg", EGG, BOX), ROUND)
    return Size(np.where(is_box, wide + walls, outer), np.where(is_box, high + walls, outer), inner, shape)
