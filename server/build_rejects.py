"""Rejected features of one source: the first in its report, the others in a file beside it, so memory is bounded."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

import orjson

from layers.issue import Reject
from layers.report import Report
from server.build_folder import slug

KEPT = 10_000
"""Rejected features that a report itself holds."""


class RejectKeeper:
    """Takes rejects as they come.

    The file carries the hash of the source in its name and is written before the commit: a build that is killed
    leaves the old report with the old file, and a file that nobody names.
    """

    def __init__(self, report: Report, reports_dir: Path) -> None:
        self._report, self._dir = report, reports_dir
        self._file: IO[bytes] | None = None

    def add(self, rejects: Iterable[Reject]) -> int:
        """Keep them; returns how many they were."""
        n = 0
        for reject in rejects:
            n += 1
            if len(self._report.rejects) < KEPT:
                self._report.rejects.append(reject)
            else:
                line = orjson.dumps(reject.to_dict(), default=str, option=orjson.OPT_SERIALIZE_NUMPY)
                self._opened().write(line + b"\n")
        return n

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._dir.mkdir(exist_ok=True)
            name = f"{slug(self._report.source)}-{self._report.sha256[:8]}.rejects.jsonl"
            self._file = (self._dir / name).open("wb")
            self._report.rejects_file = name
        return self._file

    def __enter__(self) -> Self:
        """The keeper itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """All that was taken is on the disk."""
        if self._file is not None:
            self._file.close()
