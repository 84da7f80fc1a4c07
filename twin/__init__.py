"""Many layers, one city, and the questions put to it. `twin.open(folder)` is where scripts begin."""

from pathlib import Path

from twin.city import City, LayerView
from twin.scope import EVERYTHING, Scope

__all__ = ["EVERYTHING", "City", "LayerView", "Scope", "open"]


def open(path: str | Path, scope: Scope = EVERYTHING) -> City:  # noqa: A001 reads as `twin.open`
    """The city in a twin's folder. NotFound where there is none; `citytwin build` makes one."""
    return City(Path(path), scope)
