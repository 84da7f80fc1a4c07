"""Tables that take their places from other layers: when they are read, and where they look."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from ingest.city_toml import FileHints
from ingest.table import join
from layers.errors import InvalidInput
from layers.source import Hints, Match
from server.build_plan import Item
from twin.fuse.columns import words
from twin.store.interface import Query, WriteBatch


def layers(hints: Hints) -> frozenset[str]:
    """Layers from which a source, or one of its tables, takes places; empty for all others."""
    own = {hints.join["layer"]} if hints.join else set()
    tables = hints.tables.values() if isinstance(hints, FileHints) else ()
    return frozenset(own | {table["join"]["layer"] for table in tables if table.get("join")})


def last(items: Iterable[Item]) -> list[Item]:
    """The sources that are read after all others, because they look into layers."""
    return [item for item in items if not item.is_asset and layers(item.hints)]


def with_lookup(hints: Hints, batch: WriteBatch) -> Hints:
    """The hints with a look into the open transaction, for sources that need one."""
    return replace(hints, lookup=lookup(batch)) if layers(hints) else hints


def lookup(batch: WriteBatch) -> Callable[[str, str, set[str]], dict[str, list[Match]]]:
    """Features of a layer by the keys of an attribute (or by `id`), as the transaction sees them.

    One pass through the layer each time; only what was asked for is kept. The function raises InvalidInput for an
    attribute that the layer lacks.
    """

    def find(layer_id: str, attribute: str, keys: set[str]) -> dict[str, list[Match]]:
        found: dict[str, list[Match]] = {}
        for features in batch.query(layer_id, Query()):
            if attribute != "id" and attribute not in features.attributes.column_names:
                hint = f"Its attributes are {', '.join(sorted(features.attributes.column_names))}."
                raise InvalidInput(f"join: layer {layer_id!r} has no attribute {attribute!r}.", hint, code="JOIN_WRONG")
            texts = features.ids if attribute == "id" else words(features.attributes, attribute)
            for i, text in enumerate(texts):
                if text is not None and (own := join.key(str(text), attribute)) in keys:
                    found.setdefault(own, []).append(Match(features.ids[i], features.geometry[i]))
        return found

    return find
