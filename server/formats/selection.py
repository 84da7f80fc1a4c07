"""What a format writes: the selected features batch by batch, all of one moment, with what is known of them before."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property

from layers.catalogue import Attribute
from layers.errors import InvalidInput
from server.face import Link
from server.parameters import Page
from server.serving import Snapshot
from twin.store import patience, read_raw
from twin.store.interface import Features, LayerInfo, Query

BATCH = 2_500
"""Features read at once: with more the memory grows and the time does not fall."""


@dataclass(frozen=True)
class Shape:
    """What geometries of the selection are.

    Attributes
    ----------
    kind : simple-features name in upper case; `GEOMETRY` for a mixture, empty where there are none
    has_z : True if any geometry of the layer has heights
    is_mixed : True if others have none
    """

    kind: str
    has_z: bool
    is_mixed: bool = False


@dataclass(frozen=True)
class Selection:
    """Features of one layer.

    Attributes
    ----------
    asked : the query, the CRS of the answer, where to start
    limit : features at most; None for all of them
    address : of the layer
    links : of the answer, as they stand in its header
    """

    city: Snapshot
    info: LayerInfo
    asked: Page
    limit: int | None = None
    address: str = ""
    links: list[Link] = field(default_factory=list)

    @cached_property
    def matched(self) -> int:
        """Number of features that the query matches, paging ignored."""
        with patience.within(self.city.settings.max_search_s):
            return self.city.city.store.count(self.info.id, self.asked.query, self.city.settings.scope)

    @cached_property
    def is_whole_layer(self) -> bool:
        """True if nothing is left out, so that what is known of the layer holds for the selection."""
        plain = replace(self.asked.query, properties=None, with_geometry=True)
        return plain == Query(sort=plain.sort) and self.limit is None and not self.starts_later

    @cached_property
    def starts_later(self) -> bool:
        """True if features at the start are left out."""
        return bool(self.asked.offset or self.asked.after_fid or self.asked.query.after is not None)

    def total(self) -> int | None:
        """Number of features that are written, if that is certain: ask after the first batch was read.

        They are of the moment of the first batch, which may be later than that of the count.
        """
        if self.starts_later or self.city.city.store.version() != self.city.version:
            return None
        return self.matched if self.limit is None else min(self.matched, self.limit)

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """Those that are asked for, in the layer's order."""
        wanted = self.asked.query.properties
        return tuple(each for each in self.info.type.attributes if wanted is None or each.name in wanted)

    @cached_property
    def shape(self) -> Shape:
        """Of the geometries, from what the layer holds."""
        if not self.asked.query.with_geometry:
            return Shape("", has_z=False)
        with read_raw.reading(self.city.city.store) as reader:
            record = reader.layer(self.info.id, self.city.settings.scope).record
        if not record.has_geometry:
            return Shape("", has_z=False)
        heights = {has_z for _, has_z, _ in record.kinds}
        return Shape(record.column_type, True in heights, is_mixed=len(heights) > 1)

    def batches(self, size: int = BATCH) -> Iterator[Features]:
        """The features, all of the moment in which the first is read."""
        query = replace(self.asked.query, limit=self.limit, offset=self.asked.offset)
        if self.asked.after_fid:
            query = replace(query, after_fid=self.asked.after_fid)
        store, scope = self.city.city.store, self.city.settings.scope
        yield from ahead(store.query(self.info.id, query, scope, size))


def ahead(batches: Iterator[Features]) -> Iterator[Features]:
    """The same batches, each read while the one before is written: PROJ, GEOS and GDAL leave Python to others."""
    with ThreadPoolExecutor(1, "reading ahead") as reader:
        try:
            coming = reader.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = reader.submit(next, batches, None)
                yield batch
        finally:
            reader.submit(_close, batches).result()


def _close(batches: Iterator[Features]) -> None:
    """End the read transaction of a reader that went away."""
    if isinstance(batches, Generator):
        batches.close()


def whole_number(text: str | None) -> int | None:
    """`limit` as given, without the maximum of a page; None where it is absent."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < 1:
        raise InvalidInput(f"limit={text[:30]!r} is not a whole number from 1 up.")
    return int(text)
