"""Columns of a file -> attributes of a layer type; what the schema does not know goes to `extra`, nothing is lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import columns as names
from ingest import units, values
from layers.catalogue import Attribute, LayerType
from layers.issue import Issue, Severity
from layers.source import Hints

N_EXAMPLES = 5

_TOLD: dict[str, tuple[str, str]] = {
    "VALUE_NOT_UNDERSTOOD": (
        "could not be read as {type}{unit}",
        'Correct them, or give the column\'s unit in city.toml: units = {{ {name} = "mm" }}.',
    ),
    "VALUE_OUT_OF_DOMAIN": (
        "are outside {low} … {high}{unit}",
        "Check the unit of the column; the originals are kept in `extra`.",
    ),
    "CODE_UNKNOWN": ("are not among the codes {codes}", "Correct them; the originals are kept in `extra`."),
    "TIME_WITHOUT_ZONE": (
        "do not say their time zone, or are no times",
        'Declare it in city.toml: units = {{ {name} = "+08:00" }}.',
    ),
    "VALUE_NORMALISED": (
        "were written otherwise (full width, thousands, a mark for no value) and were read",
        "",
    ),
    "REQUIRED_EMPTY": (
        "are empty although the layer needs them",
        "Fill the column, or give `values` in city.toml.",
    ),
}
"""Code -> end of the sentence, next step."""


@dataclass
class _Finding:
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Mapper:
    """Maps batches of one layer; findings are added up and told once for each attribute, with examples."""

    def __init__(
        self, layer_type: LayerType, columns: Sequence[str], hints: Hints, source: str, *, cut_names: bool = False
    ) -> None:
        self.layer_type = layer_type
        self.columns = list(columns)
        self.hints = hints
        self.source = source
        self.matched = names.match(layer_type, self.columns, hints.columns, cut=cut_names)
        self._completed = self._cut_names() if cut_names else {}
        self._rest = [column for column in self.columns if column not in self.matched.values()]
        self._found: dict[tuple[str, str], _Finding] = {}
        self._constants = self._make_constants()

    def _cut_names(self) -> dict[str, str]:
        """Attribute -> column whose name only fits because it may have been cut."""
        whole = names.match(self.layer_type, self.columns, self.hints.columns, cut=False)
        return {name: column for name, column in self.matched.items() if name not in whole}

    def _make_constants(self) -> dict[str, Any]:
        kind = self.layer_type
        given = {
            "cim_category": kind.category,
            "cim_level": kind.level[0],
            "source": self.source,
            "access": kind.access,
        }
        given |= kind.values
        if self.hints.epoch and kind.attribute("epoch"):
            given["epoch"] = self.hints.epoch
        return given | {name: value for name, value in self.hints.values.items() if kind.attribute(name)}

    def unit_of(self, attribute: Attribute) -> str | None:
        """The unit of the column that brings an attribute: hinted, else in brackets behind its name."""
        if attribute.name in self.hints.units:
            return self.hints.units[attribute.name]
        column = self.matched.get(attribute.name, "")
        return units.split_unit(column)[1] if attribute.unit else None

    def apply(self, table: pa.Table, ids: Sequence[str]) -> tuple[pa.Table, list[str | None]]:
        """Rows (n) under the file's column names -> n rows under the schema's, and n JSON objects (or None)."""
        n_rows = table.num_rows
        kept: dict[str, pa.Array] = {column: _whole(table, column) for column in self._rest}
        spoiled: dict[str, NDArray[np.bool_]] = {}
        made: list[pa.Array] = []
        for attribute in self.layer_type.attributes:
            column = self.matched.get(attribute.name)
            array = pa.nulls(n_rows, attribute.arrow_type)
            if column is not None:
                original = _whole(table, column)
                converted = values.convert(original, attribute, self.unit_of(attribute))
                array = converted.values
                for code, rows in converted.bad.items():
                    self._count(code, attribute.name, rows, original, ids)
                    spoiled.setdefault(column, np.zeros(n_rows, bool))[rows] = True
                    kept[column] = original
                if converted.normalised.size:
                    self._count("VALUE_NORMALISED", attribute.name, converted.normalised, original, ids)
            made.append(self._filled(array, attribute, ids))
        return pa.Table.from_arrays(made, schema=self.layer_type.arrow_schema()), _json(kept, spoiled, n_rows)

    def _filled(self, array: pa.Array, attribute: Attribute, ids: Sequence[str]) -> pa.Array:
        constant = self._constants.get(attribute.name)
        if constant is not None and array.null_count:
            scalar = values.convert(pa.array([constant]), attribute, None).values[0]
            array = pc.fill_null(array, scalar) if scalar.is_valid else array
        if attribute.required and array.null_count:
            rows = np.flatnonzero(pc.is_null(array).to_numpy(zero_copy_only=False))
            self._count("REQUIRED_EMPTY", attribute.name, rows, None, ids)
        return array

    def _count(
        self, code: str, name: str, rows: NDArray[np.int64], original: pa.Array | None, ids: Sequence[str]
    ) -> None:
        finding = self._found.setdefault((code, name), _Finding())
        finding.count += len(rows)
        for row in rows[: max(0, N_EXAMPLES - len(finding.examples))]:
            shown = "" if original is None else f"{original[int(row)].as_py()!r} at "
            finding.examples.append(f"{shown}{ids[int(row)]}")

    def opening_issues(self) -> list[Issue]:
        """What is known before the first row: hints that name nothing."""
        known = {attribute.name for attribute in self.layer_type.attributes}
        issues = []
        for table in ("columns", "units", "values"):
            for name in getattr(self.hints, table):
                if name not in known:
                    message = f"{self.layer_type.id} has no attribute {name!r}."
                    hint = f"Its attributes are {', '.join(sorted(known))}."
                    issues.append(Issue("HINT_UNKNOWN_ATTRIBUTE", f"city.toml {table}.{name}", message, hint))
        for name, column in self.hints.columns.items():
            if column not in self.columns:
                message = f"There is no column {column!r}."
                hint = f"The columns are {', '.join(self.columns)}."
                issues.append(Issue("HINT_UNKNOWN_COLUMN", f"city.toml columns.{name}", message, hint))
        for name, column in self._completed.items():
            message = f"The column {column!r}, cut at 10 bytes, is read as {name}."
            hint = f'If it is another one, write into city.toml: columns = {{ {name} = "…" }}.'
            issues.append(Issue("NAME_COMPLETED", f"column {column}", message, hint, "info"))
        return issues

    def closing_issues(self) -> list[Issue]:
        """What the rows brought up: one issue for each code and attribute, with the count and examples."""
        return [self._told(code, name, finding) for (code, name), finding in self._found.items()]

    def _told(self, code: str, name: str, finding: _Finding) -> Issue:
        attribute = self.layer_type.attribute(name)
        sentence, hint = _TOLD[code]
        if code == "VALUE_NOT_UNDERSTOOD" and attribute and attribute.unit is None:
            codes = ", ".join(f"{key} ({title.zh}, {title.en})" for key, title in attribute.codes.items())
            hint = f"Correct them; codes are {codes}." if codes else "Correct them."
        words = {
            "name": name,
            "type": attribute.type if attribute else "",
            "unit": f" {attribute.unit}" if attribute and attribute.unit else "",
            "low": attribute.minimum if attribute else None,
            "high": attribute.maximum if attribute else None,
            "codes": ", ".join(attribute.codes) if attribute else "",
        }
        where = f"column {self.matched[name]}" if name in self.matched else f"attribute {name}"
        message = f"{finding.count} values of {name} {sentence.format(**words)}: {', '.join(finding.examples)}."
        severity: Severity = "info" if code == "VALUE_NORMALISED" else "warning"
        return Issue(code, where, message, hint.format(**words), severity)


def _whole(table: pa.Table, column: str) -> pa.Array:
    array = table.column(column)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _json(kept: dict[str, pa.Array], spoiled: dict[str, NDArray[np.bool_]], n_rows: int) -> list[str | None]:
    """Columns -> one JSON object a row, without empty values; None where nothing is left."""
    rows: list[dict[str, Any]] = [{} for _ in range(n_rows)]
    for column, array in kept.items():
        wanted = pc.is_valid(
            array,
        ).to_numpy(zero_copy_only=False)
        if column in spoiled:
            wanted = wanted & spoiled[column]
        if not wanted.any():
            continue
        items = array.to_pylist()
        for row in np.flatnonzero(wanted):
            rows[row][column] = items[row]
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return [orjson.dumps(row, default=_plain, option=options).decode() if row else None for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
