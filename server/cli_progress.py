"""Progress of a build on stderr: bars on a terminal, plain lines with `--verbose`, else nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layers.report import Report
from server.build_progress import Progress, Silent

if TYPE_CHECKING:
    from pathlib import Path

    import rich.progress

    from twin.analysis.progress import Progress as Told


class Lines:
    """One line a source, and the traceback of a reader that failed."""

    def __init__(self) -> None:
        self._total = self._n = 0

    def begin(self, n_sources: int) -> None:
        """Remember how many there are."""
        self._total = n_sources

    def source(self, name: str) -> None:
        """Count and name it."""
        self._n += 1
        sys.stderr.write(f"[{self._n}/{self._total}] {name}\n")
        sys.stderr.flush()

    def advance(self, n_features: int) -> None:
        """Features are counted in the line at the end."""

    def done(self, report: Report, trace: str = "") -> None:
        """Status, features, time."""
        n = sum(count.n_stored for count in report.layers)
        sys.stderr.write(f"    {report.status}: {n} stored, {report.seconds:.2f} s\n{trace}")
        sys.stderr.flush()


class Bars:
    """A bar over the sources; the source that is read and its features beside it."""

    def __init__(self, bars: "rich.progress.Progress") -> None:
        self._bars = bars
        self._task = bars.add_task("Looking", total=None, features=0)
        self._features = 0

    def begin(self, n_sources: int) -> None:
        """Set the bar's length."""
        self._bars.update(self._task, total=n_sources)

    def source(self, name: str) -> None:
        """Show the name."""
        self._bars.update(self._task, description=name)

    def advance(self, n_features: int) -> None:
        """Show the features so far."""
        self._features += n_features
        self._bars.update(self._task, features=self._features)

    def done(self, report: Report, trace: str = "") -> None:
        """One source further."""
        del report, trace
        self._bars.advance(self._task)


@contextmanager
def progress(*, verbose: bool) -> Iterator[Progress]:
    """The way of telling that fits where stderr goes."""
    if verbose:
        yield Lines()
    elif not sys.stderr.isatty():
        yield Silent()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[features]:,} features"),
            TextColumn("{task.description}", markup=False),
        )  # fmt: skip
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield Bars(bars)


@contextmanager
def percent(title: str, folder: "Path | None" = None) -> "Iterator[Told]":
    """For an analysis: a bar on a terminal, else nothing. `folder` is for its files."""
    from twin.analysis.progress import Progress as Told

    if not sys.stderr.isatty():
        yield Told(folder=folder)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=100)

        def tell(share: float, message: str) -> None:
            bars.update(task, completed=share, description=f"{title}: {message}" if message else title)

        yield Told(tell, folder)
