"""Cross-sections of SWMM conduits -> our attributes. Format: SWMM 5.2 User's Manual, appendix D.2, [XSECTIONS]."""

from typing import Any

from ingest.network.inp import Sections, scaled, word

ROUND = {"CIRCULAR", "FORCE_MAIN", "FILLED_CIRCULAR"}
BOX = {"RECT_CLOSED", "RECT_OPEN", "RECT_ROUND", "RECT_TRIANGULAR", "MODBASKETHANDLE"}
EGG = {"EGG"}
ARCH = {"ARCH", "HORSESHOE", "GOTHIC", "CATENARY", "SEMIELLIPTICAL", "BASKETHANDLE", "SEMICIRCULAR", "HORIZ_ELLIPSE",
        "VERT_ELLIPSE"}  # fmt: skip
OPEN_SIDES = {"TRAPEZOIDAL", "TRIANGULAR", "PARABOLIC", "POWER", "IRREGULAR", "STREET", "CUSTOM", "DUMMY"}
EGG_WIDTH = 2 / 3
"""Greatest width of the standard egg, as a share of its height."""


def section_of(sections: Sections, line: int, words: list[str], length_m: float) -> dict[str, Any]:
    """`link shape height-or-diameter width …` -> diameter, or width and height, in millimetres.

    Shapes that are neither round nor closed boxes keep their name, and get width and height only where the file
    states both: the box around them is then what is drawn. Barrels are counted.
    """
    sections.need(line, words, 2)
    shape = words[1].upper()
    if shape not in ROUND | BOX | EGG | ARCH | OPEN_SIDES:
        raise sections.wrong(line, f"there is no cross-section {words[1][:40]!r}")
    row: dict[str, Any] = {"swmm_shape": shape, "section_shape": _word(shape)}
    if shape in {"IRREGULAR", "STREET", "CUSTOM", "DUMMY"}:
        return row  # the next word names a transect, a street or a curve
    high, wide = (scaled(sections.number(line, words, at), length_m * 1000) for at in (2, 3))
    if shape in ROUND:
        row["dn_mm"] = high or None
    else:
        row["height_mm"] = high or None
        row["width_mm"] = high * EGG_WIDTH if shape in EGG and high else (wide or None)
    if word(words, 6) is not None:
        row["barrels"] = sections.number(line, words, 6)
    return row


def _word(shape: str) -> str:
    for kinds, found in ((ROUND, "round"), (BOX, "box"), (EGG, "egg"), (ARCH, "arch")):
        if shape in kinds:
            return found
    return "trapezoid" if shape == "TRAPEZOIDAL" else "other"
