"""What a raster shows and when it was made, from its name, its bands and its tags."""

import re
from pathlib import Path
from typing import Any

from ingest import place
from ingest.detect import name_words
from layers import catalogue
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])?(?:[-_.]?(0[1-9]|[12]\d|3[01]))?(?!\d)")


def epoch(stem: str, tags: dict[str, str]) -> str | None:
    """ISO date from the TIFF's DateTime tag or the file's name, as exact as it is stated."""
    stated = tags.get("TIFFTAG_DATETIME", "")
    match = re.match(r"^(\d{4}):(\d\d):(\d\d)", stated) or _DATE.search(stem)
    return "-".join(part for part in match.groups() if part) if match else None


def layer_type(path: Path, facts: dict[str, Any], hints: Hints, name: str) -> tuple[str, list[Issue]]:
    """Catalogue id of the raster. Raises InvalidInput where neither hint, name nor bands tell."""
    if hints.layer is not None:
        if catalogue.layer_type(hints.layer).geometry != "raster":
            raise InvalidInput(
                f"Layer {hints.layer!r} does not hold rasters.",
                "Correct `layer` in city.toml.",
                code="LAYER_GEOMETRY_DIFFERS",
            )
        return hints.layer, []
    words = name_words(path.name.split(".")[0])
    for each in catalogue.load().values():
        if each.geometry == "raster" and any(
            f"_{token.lower()}_" in words or (not token.isascii() and token in words)
            for token in (each.id, *each.tokens)
        ):
            return each.id, []
    is_image = facts["dtype"] == "uint8" and facts["bands"] >= 3
    if is_image:
        return "dom", [
            Issue(
                "LAYER_TYPE_FROM_BANDS",
                name,
                f"{facts['bands']} bands of bytes are taken for an orthophoto.",
                "If it is none, give `layer` in city.toml.",
                "info",
            )
        ]
    if facts["bands"] == 1 and facts["dtype"] in {"float32", "float64", "int16", "int32"}:
        return "dem", [
            Issue(
                "LAYER_TYPE_FROM_BANDS",
                name,
                f"One band of {facts['dtype']} is taken for terrain heights.",
                "If it is a surface model or none at all, give `layer` in city.toml.",
                "warning",
            )
        ]
    problem = (
        f"{name} has {facts['bands']} band(s) of {facts['dtype']}: neither its name nor its bands say what it shows."
    )
    raise InvalidInput(
        problem,
        f"Write into city.toml (dem, dsm or dom):\n{place.toml_lines(name, layer='dem')}",
        code="LAYER_TYPE_UNKNOWN",
    )
