"""Which files of a folder belong together as points and lines of a pipe survey: by their names alone.

So a change of the points counts as a change of the lines that hang on them.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from ingest.units import narrow

SUFFIXES = (".csv", ".xlsx", ".xls")
MAX_BESIDE = 200

_POINT_WORDS = re.compile(r"点|points?|nodes?|(?<![a-z])pt|^[a-z]{2}p$", re.IGNORECASE)
_LINE_WORDS = re.compile(r"管线|线|管段|lines?|pipes?|links?|^[a-z]{2}l$", re.IGNORECASE)
_NOISE = re.compile(
    r"管线点|管点|管段|管线|点|线|points?|nodes?|lines?|pipes?|links?|成果|表|数据|(?<=^[a-z]{2})[pl]$|[\W_]",
    re.IGNORECASE,
)


def key(name: str) -> str:
    """What is left of a table's name without the words for points, lines and tables: pairs have it in common."""
    return _NOISE.sub("", narrow(name).lower())


def points_beside(path: Path, beside: Iterable[Path]) -> list[Path]:
    """Files of the same folder whose names say that they hold the points of a line table; empty for other files.

    By names alone, so that a change of the points counts as a change of the lines.
    """
    if not path.name.lower().endswith(SUFFIXES) or not _is_line_name(path.stem):
        return []
    found = [each for each in beside if each != path and each.parent == path.parent
             and each.name.lower().endswith(SUFFIXES) and _POINT_WORDS.search(narrow(each.stem))]  # fmt: skip
    own = [each for each in found if key(each.stem) == key(path.stem)]
    return sorted(own or found)[:MAX_BESIDE]


def _is_line_name(stem: str) -> bool:
    plain = narrow(stem)
    return bool(_LINE_WORDS.search(plain)) and not _POINT_WORDS.search(plain)
