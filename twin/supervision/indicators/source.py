"""Where an indicator's features come from: the city's layers, or what the asker gives instead. Each is read once."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from layers import catalogue
from layers.errors import InvalidInput
from twin.analysis import features_input
from twin.analysis.place import check_inside, collected, words
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features, Query
from twin.supervision.indicators import condition

if TYPE_CHECKING:
    from twin.city import City


ALWAYS = ("xzqdm", "name")


class NoData(Exception):
    """An indicator cannot be told; the message says what is missing, in Chinese and English."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


@dataclass
class Source:
    """The city as an indicator reads it.

    Attributes
    ----------
    given : layer -> value of an input with `features_input.SCHEMA`, used instead
    moment : state of the city; None is now
    """

    city: "City"
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    moment: dt.datetime | None = None
    progress: Progress = SILENT
    _read: dict[tuple[Any, ...], Features] = field(default_factory=dict, repr=False)

    def has(self, layer: str) -> bool:
        """Whether there are features to be had of a layer."""
        return layer in self.given or layer in self.city

    def require(self, layer: str) -> None:
        """NoData where there is no such layer."""
        if not self.has(layer):
            known = catalogue.load().get(layer)
            zh, en = ("", "") if known is None else (f"（{known.title.zh}）", f" ({known.title.en})")
            raise NoData(f"缺少图层 {layer}{zh}。", f"There is no layer {layer}{en}.")

    def features(self, layer: str, where: str | None = None, columns: Iterable[str] = ()) -> Features:
        """All features of a layer for which a filter holds, with some of their attributes (those the layer has).

        NoData where there is no such layer, InvalidInput where the filter does not fit it.
        """
        self.require(layer)
        known = catalogue.load().get(layer)
        wanted = dict.fromkeys([*ALWAYS, *(known.id_from if known else ()), *columns])
        key = (layer, where, frozenset(wanted))
        if key not in self._read:
            self.progress(0.0, layer)
            read = self._given if layer in self.given else self._stored
            self._read[key] = read(layer, where, tuple(wanted))
        return self._read[key]

    def _stored(self, layer: str, where: str | None, columns: tuple[str, ...]) -> Features:
        has = {each.name for each in self.city.store.layer(layer, self.city.scope).type.attributes}
        filter_ = None if where is None else condition.parsed(where)
        query = Query(at=self.moment, filter=filter_, properties=tuple(each for each in columns if each in has))
        try:
            found = collected(self.city.store.query(layer, query, self.city.scope), layer)
        except InvalidInput as error:
            raise InvalidInput(f"indicator on {layer}: {error.problem}", error.hint) from error
        return found

    def _given(self, layer: str, where: str | None, columns: tuple[str, ...]) -> Features:
        name = f"layers/{layer}"
        expression = None if where is None else condition.parsed(where)
        needed = None if "collection" in self.given[layer] else (*columns, *condition.properties(expression or {}))
        found = collected(features_input.read(self.city, name, self.given[layer], properties=needed), name)
        check_inside(self.city, name, found.geometry)
        if expression is None:
            return found
        return taken(found, np.flatnonzero(condition.truth(expression, found.attributes, len(found)) == condition.TRUE))


def first_there(source: Source, layers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of some layers that there is. NoData, named after the first of all, where there is none."""
    for each in layers:
        if source.has(each["layer"]):
            return each
    source.require(layers[0]["layer"])
    return layers[0]


def taken(found: Features, rows: Any) -> Features:
    """Some rows of features."""
    if len(rows) == len(found):
        return found
    chosen = [int(row) for row in rows]
    return Features(
        found.fids[rows], [found.ids[row] for row in chosen], found.geometry[rows],
        found.attributes.take(pa.array(chosen, pa.int64())), [found.extra[row] for row in chosen],
        found.versions[rows], [found.valid_from[row] for row in chosen], [found.valid_to[row] for row in chosen],
    )  # fmt: skip


def names(found: Features, layer: str) -> list[set[str]]:
    """(n,) what each feature may be called by others: its id, and the attributes its id comes from."""
    known = catalogue.load().get(layer)
    columns = () if known is None else known.id_from
    made = [{each} for each in found.ids]
    for column in columns:
        for row, value in enumerate(words(found, column)):
            if value:
                made[row].add(value)
    return made
