"""How far an analysis has come, told while it runs; the same call is where it is stopped.

A process that takes long has a keyword argument `progress` and calls it at least once a second or so, between batches,
rows or tiles: `progress(40, "slopes")`. Whoever runs it may answer with an exception (dismissed, time is up), which
the process lets pass.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Tell = Callable[[float, str], None]
Thing = TypeVar("Thing")


class Dismissed(Exception):
    """The asker no longer wants the answer. Not an error of the house: a process must not catch it."""


class Progress:
    """Told as percent of the whole, 0 to 100, and a word on what is being done.

    Parameters
    ----------
    tell : gets percent of the whole and the message; may raise `Dismissed`. Nothing is told when absent
    folder : where `file` puts what the process writes; a temporary folder of its own when absent
    """

    def __init__(self, tell: Tell | None = None, folder: Path | None = None) -> None:
        self._tell, self._folder = tell, folder
        self._start, self._end = 0.0, 100.0

    def __call__(self, percent: float, message: str = "") -> None:
        """Percent of this part, cut to 0 to 100."""
        if self._tell is not None:
            share = min(max(percent, 0.0), 100.0) / 100.0
            self._tell(self._start + share * (self._end - self._start), message)

    def part(self, start: float, end: float) -> "Progress":
        """For a step that goes from `start` to `end` percent of this one and counts from 0 to 100 itself."""
        made = Progress(self._tell, self._folder)
        width = self._end - self._start
        made._start, made._end = self._start + width * start / 100.0, self._start + width * end / 100.0
        return made

    def over(self, things: Iterable[Thing], n: int, message: str = "") -> Iterator[Thing]:
        """The things one by one, `n` of them; tells after each."""
        for done, thing in enumerate(things, 1):
            yield thing
            self(100.0 * done / max(n, 1), message)

    def file(self, name: str) -> Path:
        """Path of a new file for an output that is a file (`outputs.File`), for example `depth.tif`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="citytwin-"))
        return self._folder / name


SILENT = Progress()
