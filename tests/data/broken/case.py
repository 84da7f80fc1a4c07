"""One bad input: which case of the list it is, the files that hold it, and what must be said of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EAST, NORTH = 597000.0, 3109000.0
"""Where everything lies: EPSG:4549, near 121.0 E 28.1 N."""

CITY = 'name = "bad"\ncrs = "EPSG:4549"\nvertical_crs = "EPSG:5737"\norigin = [121.0, 28.1]\n'


@dataclass(frozen=True)
class Case:
    """A folder of files with a city.toml.

    Attributes
    ----------
    number : of docs/bad-inputs.md
    name : of the folder
    write : makes the files in the folder
    codes : findings that must be there; `""` stands for none: it is read right and nothing is wrong
    n_read, n_stored : features in the file that is broken, over all its layers
    toml : lines behind those of every city
    """

    number: int
    name: str
    write: Callable[[Path], None]
    codes: tuple[str, ...]
    n_read: int = 0
    n_stored: int = 0
    toml: str = ""

    def make(self, folder: Path) -> Path:
        """Write everything into `folder/name`; returns that folder."""
        made = folder / self.name
        made.mkdir(parents=True)
        (made / "city.toml").write_text(CITY + self.toml, "utf8")
        self.write(made)
        return made
