"""The public id of each feature: from the file where it brings one, else made, and the same at the next reading."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.columns import fold
from ingest.duplicates import Seen
from ingest.values import as_text
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

GENERAL = (
    "id",
    "gml_id",
    "gmlid",
    "objectid",
    "BSM",
    "标识码",
    "编号",
    "guid",
    "globalid",
    "uuid",
    "fid",
    "osm_id",
    "code",
)
"""Columns that may hold an id in a table whose type names none."""

SERIAL = ("id", "fid", "objectid", "编号")
"""General columns whose plain numbers only count the rows of their own file: the next file begins at 1 again."""

LONGEST_SERIAL = 9
"""Digits; longer numbers are codes that mean one thing everywhere."""

MIN_DISTINCT = 0.9
"""A column with fewer distinct values than this share of its rows is no id."""


@dataclass(frozen=True)
class IdPlan:
    """How the ids of one layer are made.

    Attributes
    ----------
    column : of the file; None when it has none that serves
    prefix : what comes before numbers and hashes, from the file's name
    persistent : the file's own feature numbers stay with their features
    suffix : what comes behind every id
    is_serial : plain numbers of the column get the prefix too
    """

    column: str | None
    prefix: str
    persistent: bool
    suffix: str = ""
    is_serial: bool = False


def edition(layer_type: LayerType, hints: Hints) -> str:
    """`@2025` for one year of a layer that is surveyed year by year: the same parcel number returns in each."""
    if layer_type.attribute("survey_year") is None:
        return ""
    year = hints.values.get("survey_year") or (hints.epoch or "")[:4]
    return f"@{year}" if year else ""


def prefix(path: Path, root: Path | None, table: str | None = None) -> str:
    """`land/plan.gpkg`, table `zones` -> `land.plan.zones`; `table` None for files with one table."""
    inside = path.relative_to(root) if root and path.is_relative_to(root) else Path(path.name)
    parts = [*inside.parts[:-1], inside.name.split(".")[0], *([table] if table else [])]
    return ".".join("_".join(part.split()) for part in parts)


def candidates(layer_type: LayerType, columns: Sequence[str], matched: dict[str, str], hints: Hints) -> list[str]:
    """Columns that may serve as id, best first. Raises InvalidInput when the hinted column does not exist."""
    if hints.id_column is not None:
        if hints.id_column not in columns:
            known = ", ".join(columns) or "none"
            raise InvalidInput(
                f"There is no column {hints.id_column!r} for the ids.", f"Columns: {known}.", code="ID_COLUMN_MISSING"
            )
        return [hints.id_column]
    found = [matched[name] for name in layer_type.id_from if name in matched]
    by_name = {fold(column): column for column in reversed(columns)}
    found += [by_name[fold(name)] for name in GENERAL if fold(name) in by_name]
    return list(dict.fromkeys(found))


def is_serial(column: str | None, layer_type: LayerType, matched: dict[str, str], hints: Hints) -> bool:
    """True for a column that the type does not name and the user does not, and that likely counts rows."""
    if column is None or hints.id_column is not None:
        return False
    of_type = {matched[name] for name in layer_type.id_from if name in matched}
    return column not in of_type and fold(column) in {fold(name) for name in SERIAL}


def choose(
    columns: Sequence[str], batches: Iterable[pa.Table], n_expected: int | None = None
) -> tuple[str | None, int]:
    """One streaming pass: the first column with a value in nearly every row and nearly no value twice, and the rows.

    «Nearly» is 90 %; the remaining duplicates become rejects, the remaining gaps get a made id. `n_expected` is what
    the file claims; InvalidInput when fewer rows come.
    """
    seen = {column: Seen() for column in columns}
    n_rows = 0
    for batch in batches:
        n_rows += batch.num_rows
        for column, already in seen.items():
            texts = as_text(_one(batch, column)).to_pylist()
            already.add(np.fromiter((hash(text) for text in texts if text is not None), np.int64))
    if n_expected is not None and n_rows < n_expected:
        problem = f"The file claims {n_expected} features, but it ends after {n_rows}."
        raise InvalidInput(problem, "Copy or export it again; it is cut off.", code="TRUNCATED")
    chosen = next((column for column in columns if len(seen[column]) >= MIN_DISTINCT * n_rows and n_rows), None)
    return chosen, n_rows


def _one(table: pa.Table, column: str) -> pa.Array:
    array = table.column(column)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


class IdMaker:
    """Gives ids to batch after batch of one layer."""

    def __init__(self, plan: IdPlan) -> None:
        self.plan = plan
        self._seen = Seen()
        self._times: dict[str, int] = {}
        self.n_made = 0

    def ids(self, table: pa.Table, fids: Sequence[int | str] | None, content: Callable[[int], bytes]) -> list[str]:
        """(n,) ids. `content(row)` gives the bytes that identify a feature without id or number (its geometry)."""
        texts: list[str | None] = [None] * table.num_rows
        if self.plan.column is not None:
            texts = as_text(_one(table, self.plan.column)).to_pylist()
        if self.plan.is_serial:
            texts = [self._of_file(text) for text in texts]
        empty = [row for row, text in enumerate(texts) if text is None]
        self.n_made += len(empty)
        if self.plan.persistent and fids is not None:
            made = [f"{self.plan.prefix}.{fids[row]}" for row in empty]
        else:
            made = self._hashed([content(row) for row in empty])
        for row, text in zip(empty, made, strict=True):
            texts[row] = text
        return [f"{text}{self.plan.suffix}" for text in texts]

    def _of_file(self, text: str | None) -> str | None:
        is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= LONGEST_SERIAL
        return f"{self.plan.prefix}.{text}" if is_number else text

    def _hashed(self, contents: Sequence[bytes]) -> list[str]:
        """Ids made of what identifies features; equal ones are numbered in the order of their rows."""
        digests = [blake2b(each, digest_size=8).digest() for each in contents]
        made = []
        for digest, came_before in zip(
            digests, self._seen.add(np.frombuffer(b"".join(digests), np.int64)).tolist(), strict=True
        ):
            key = digest.hex()
            if came_before:
                self._times[key] = self._times.get(key, 1) + 1
                key = f"{key}-{self._times[key]}"
            made.append(f"{self.plan.prefix}.{key}")
        return made

    def issues(self) -> list[Issue]:
        """What to know about the ids of this layer."""
        plan = self.plan
        if plan.column is not None and self.n_made:
            message = (
                f"{self.n_made} features have no value in {plan.column!r}; their ids were made from the file's name."
            )
            return [Issue("ID_EMPTY", f"column {plan.column}", message, "Fill the column.", "warning")]
        if plan.column is None and self.n_made:
            how = (
                "the file's feature numbers"
                if plan.persistent
                else "a hash of each feature's geometry (of its values, where it has none)"
            )
            message = f"No column holds a unique id; ids were made from {how}."
            return [Issue("ID_MADE", plan.prefix, message, 'Name the column in city.toml: id_column = "…".', "info")]
        return []


def duplicates(seen: Seen, keys: Sequence[object]) -> NDArray[np.bool_]:
    """(n,) True where a key (anything hashable) came before."""
    try:
        hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
    except TypeError:  # a column of lists
        hashes = np.fromiter((hash(repr(key)) for key in keys), np.int64, len(keys))
    return seen.add(hashes)
