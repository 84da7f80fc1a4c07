"""Which column of a file is which attribute: by hint, name, alias, title, or a DBF name cut at 10 bytes."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ingest.units import split_unit
from layers import catalogue
from layers.catalogue import Attribute, LayerType

DBF_NAME_BYTES = 10


def fold(name: str) -> str:
    """Spelling that does not matter, removed: case, full width, blanks, underscores, hyphens."""
    narrow = unicodedata.normalize("NFKC", name).lower()
    return "".join(char for char in narrow if not (char.isspace() or char in "_-·"))


def names_of(attribute: Attribute) -> list[str]:
    """Every name under which a file may bring an attribute, the schema's own first."""
    return [attribute.name, *attribute.aliases, attribute.title.zh, attribute.title.en]


def match(layer_type: LayerType, columns: Sequence[str], hinted: Mapping[str, str], *, cut: bool) -> dict[str, str]:
    """Attribute -> column; each column serves once. `cut`: the file's format cuts names at 10 bytes (DBF).

    Order of trust: hints, the attribute's own name, its aliases, its titles, the same with a unit in brackets
    (`高度(米)`), a cut name.
    """
    found = {name: column for name, column in hinted.items() if column in columns and layer_type.attribute(name)}
    free = [column for column in columns if column not in found.values()]
    folded: dict[str, str] = {}
    for column in free:
        folded.setdefault(fold(column), column)
    bare: dict[str, str] = {}
    for column in free:
        bare.setdefault(fold(split_unit(column)[0]), column)
    longest = max(len(names_of(each)) for each in layer_type.attributes)
    # attributes of the layer's own speak before those that every layer has: a site's 阶段 is not the common one
    for attributes in (layer_type.attributes[n_common() :], layer_type.attributes[: n_common()]):
        for table in (folded, bare):
            for rank in range(longest):
                _take(attributes, rank, table, found)
    if cut:
        _take_cut(layer_type, free, found)
    return found


@lru_cache(maxsize=1)
def n_common() -> int:
    """How many attributes, at the beginning, every layer type has."""
    return len(catalogue.from_fields("none", "none", "none", {}).attributes)


def _take(attributes: Sequence[Attribute], rank: int, table: dict[str, str], found: dict[str, str]) -> None:
    used = set(found.values())
    for attribute in attributes:
        names = names_of(attribute)
        if attribute.name in found or rank >= len(names):
            continue
        column = table.get(fold(names[rank]))
        if column is not None and column not in used:
            found[attribute.name] = column
            used.add(column)


def _take_cut(layer_type: LayerType, columns: Sequence[str], found: dict[str, str]) -> None:
    used = set(found.values())
    for column in columns:
        n_bytes = min(len(column.encode("gb18030")), len(column.encode()))
        if column in used or n_bytes < DBF_NAME_BYTES - 1:
            continue
        whole = [
            attribute.name
            for attribute in layer_type.attributes
            if attribute.name not in found and any(fold(name).startswith(fold(column)) for name in names_of(attribute))
        ]
        if len(whole) == 1:
            found[whole[0]] = column
            used.add(column)
