"""`Query.sort` and `Query.after` as SQL: any order, nulls last, ties by row number, and going on after one row of it.

Texts compare by code point, as UTF-8 does byte by byte; moments without their Z, so that fewer digits sort first.
"""

from dataclasses import dataclass
from typing import Any

from layers.errors import InvalidInput
from twin.store.columns import quote
from twin.store.layer_record import LayerRecord

MAX_KEYS = 8
ID = "coalesce(t.id, 'fid-' || t.fid)"


@dataclass(frozen=True)
class Key:
    """One sort key: an expression over table alias `t`, and its direction."""

    sql: str
    is_descending: bool


def keys(layer: LayerRecord, sort: tuple[tuple[str, bool], ...]) -> tuple[Key, ...]:
    """The keys of a sort; InvalidInput for what the layer lacks."""
    if len(sort) > MAX_KEYS:
        raise InvalidInput(f"{len(sort)} keys to sort by; at most {MAX_KEYS} are read.", "Drop the last ones.")
    found = []
    for name, is_descending in sort:
        if name not in layer.columns and name != "id":
            known = ", ".join(["id", *layer.columns])
            raise InvalidInput(f"Layer {layer.type.id!r} cannot be sorted by {name[:60]!r}.", f"It has {known}.")
        found.append(Key(_expression(layer, name), is_descending))
    return tuple(found)


def _expression(layer: LayerRecord, name: str) -> str:
    attribute = layer.type.attribute(name)
    if attribute is None and name not in layer.columns:
        return ID
    column = f"t.{quote(layer.columns[name])}"
    return f"rtrim({column}, 'Z')" if attribute is not None and attribute.type == "datetime" else column


def selected(sort: tuple[Key, ...]) -> str:
    """The keys as columns k0, k1 … behind others."""
    return "".join(f", {key.sql} AS k{at}" for at, key in enumerate(sort))


def order_by(sort: tuple[Key, ...]) -> str:
    """ORDER BY over the columns that `selected` gives, then by `fid`."""
    terms = [f"k{at} {'DESC' if key.is_descending else 'ASC'} NULLS LAST" for at, key in enumerate(sort)]
    return " ORDER BY " + ", ".join([*terms, "fid"])


def beyond(sort: tuple[Key, ...], after: tuple[Any, ...] | None) -> tuple[str, list[Any]]:
    """Condition that a row comes after a position (a value for each key, then a row number); empty without one."""
    if after is None:
        return "", []
    values = checked(after, len(sort))
    terms: list[str] = []
    parameters: list[Any] = []
    same: list[str] = []
    same_values: list[Any] = []
    for key, value in zip(sort, values[:-1], strict=True):
        if value is not None:
            comparison = f"({key.sql} {'<' if key.is_descending else '>'} ? OR {key.sql} IS NULL)"
            terms.append(" AND ".join([*same, comparison]))
            parameters += [*same_values, value]
        same.append(f"{key.sql} IS ?")
        same_values.append(value)
    terms.append(" AND ".join([*same, "t.fid > ?"]))
    parameters += [*same_values, values[-1]]
    return "(" + " OR ".join(f"({term})" for term in terms) + ")", parameters


def checked(after: tuple[Any, ...], n_keys: int) -> list[Any]:
    """A position whose values SQLite can take; InvalidInput for any other."""
    is_fine = len(after) == n_keys + 1 and isinstance(after[-1], int) and not isinstance(after[-1], bool)
    for value in after:
        is_number = isinstance(value, int) and -(2**63) <= value < 2**63
        is_fine = is_fine and (value is None or isinstance(value, str | float) or is_number)
    if not is_fine:
        raise InvalidInput("after is no position in this order.", "Take it from the last page.")
    return [int(value) if isinstance(value, bool) else value for value in after]
