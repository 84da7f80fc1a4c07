"""What a build tells while it runs. The command line draws bars from it; scripts hear nothing."""

from typing import Protocol

from layers.report import Report


class Progress(Protocol):
    """Called from the building thread."""

    def begin(self, n_sources: int) -> None:
        """So many sources will be read."""
        ...

    def source(self, name: str) -> None:
        """Reading of this source begins."""
        ...

    def advance(self, n_features: int) -> None:
        """So many features more."""
        ...

    def done(self, report: Report, trace: str = "") -> None:
        """The source is finished; `trace` where a reader failed."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, n_sources: int) -> None:
        """Nothing."""

    def source(self, name: str) -> None:
        """Nothing."""

    def advance(self, n_features: int) -> None:
        """Nothing."""

    def done(self, report: Report, trace: str = "") -> None:
        """Nothing."""
