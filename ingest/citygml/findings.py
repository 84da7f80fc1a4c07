"""What is wrong with the geometry of a CityGML file, counted over a layer and told once, with the first places."""

from dataclasses import dataclass, field

from layers.issue import Issue

SAMPLE = 10
"""Findings of one kind that are kept with their place."""

_TOLD: dict[str, tuple[str, str, str]] = {
    "RING_NOT_CLOSED": ("rings do not end where they begin; they are closed", "warning", "Correct the export."),
    "RING_TOO_SHORT": ("rings or lines have too few different points and are left out", "warning", "Correct them."),
    "LINK_UNRESOLVED": (
        "references lead to no geometry in the file; what they name is missing", "warning", "Export the file whole.",
    ),
    "FACE_DEGENERATE": ("faces have no area and are left out", "info", ""),
    "FACE_BENT": ("faces have points more than 0.05 m off their plane; they are kept", "warning", "Correct them."),
    "SOLID_INSIDE_OUT": ("closed solids had their faces looking inwards; they are turned", "info", ""),
    "AXES_LOOK_SWAPPED": (
        "closed solids are inside out, which is so when the two axes are swapped: the file seems to have east first "
        "although its CRS says north first (or the reverse)", "warning",
        'If so, write correct = ["swap-axes"] into city.toml.',
    ),
    "IMPLICIT_NOT_READ": (
        "implicit geometries have their shape in another file, or no matrix; only their place is kept", "warning",
        "Write the shapes into the file (relativeGMLGeometry).",
    ),
    "HEIGHTS_EMPTY": ("objects have only heights of 0 or none; they are kept as flat outlines", "info", ""),
    "TOO_MANY_TEXTURES": ("objects have more textures than one mesh can hold; the rest is plain", "warning", ""),
}  # fmt: skip
"""Code -> end of the sentence, severity, next step."""


@dataclass
class Findings:
    """Counts and places of what is wrong with geometry, over a layer."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, code: str, where: str) -> None:
        """One more."""
        self.counts[code] = self.counts.get(code, 0) + 1
        kept = self.places.setdefault(code, [])
        if len(kept) < SAMPLE:
            kept.append(where)

    def judge_axes(self, outside: int, inside: int, *, will_swap: bool) -> None:
        """Nearly all closed solids inside out: the axes look swapped; where they will be swapped back, the reverse."""
        wrong, right = (outside, inside) if will_swap else (inside, outside)
        is_turned = self.counts.get("SOLID_INSIDE_OUT", 0)
        if wrong > 1 and wrong >= 0.9 * (wrong + right):
            self.counts["AXES_LOOK_SWAPPED"] = wrong
            self.places["AXES_LOOK_SWAPPED"] = self.places.get("SOLID_INSIDE_OUT", [])
        elif not will_swap or not is_turned:
            return
        self.counts.pop("SOLID_INSIDE_OUT", None)
        self.places.pop("SOLID_INSIDE_OUT", None)

    def issues(self, where: str) -> list[Issue]:
        """One for each code."""
        made = []
        for code, count in self.counts.items():
            words, severity, hint = _TOLD[code]
            places = "; ".join(each[:120] for each in self.places[code])
            told = f"{count} {words}{': ' if places else ''}{places}."
            made.append(Issue(code, where, told, hint, severity))  # type: ignore[arg-type]
        return made
