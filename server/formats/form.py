"""What a format is: its names, and how a selection is written in it."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from server.formats.selection import Selection
from server.serving import Snapshot
from twin.store.interface import LayerInfo


def _always(*_: object) -> bool:
    return True


@dataclass(frozen=True)
class Form:
    """A format of `/items`.

    Attributes
    ----------
    name : value of `f`
    write : the file in pieces; the first one may raise what is wrong with the selection
    is_page : True for what is read page by page like GeoJSON; files hold the whole selection unless `limit` says less
    fits : which layers it is offered for
    in_city_crs : True if the city's CRS is meant where none is asked for
    rel : of the link to it in the collection: `enclosure` for a whole layer as one file to keep
    needs : what a layer must have to be offered in it, for the message where it has not
    """

    name: str
    media_type: str
    suffix: str
    title: str
    write: Callable[[Selection], Generator[bytes]]
    is_page: bool = False
    in_city_crs: bool = False
    fits: Callable[[Snapshot, LayerInfo], bool] = _always
    rel: str = "items"
    needs: str = ""


def after(head: bytes, pieces: Iterator[bytes]) -> Generator[bytes]:
    """The pieces behind a head that goes out with the first: what is wrong with that one is told instead."""
    yield head + next(pieces, b"")
    yield from pieces
