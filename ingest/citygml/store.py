"""What a first reading of a CityGML file must keep for the second: paint of surfaces, and geometry that others share.

It is kept in a private temporary database that the system removes, so that memory does not grow with the file.
"""

import sqlite3
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from ingest.citygml.stream import XLINK_HREF, Element, gml_id, local, namespace

MAX_LINKS = 1_000_000
"""References from one member to another that are followed."""

MAX_LINK_BYTES = 1_000_000_000
CACHED_LINKS = 64

_HREFS = etree.XPath(".//@x:href", namespaces={"x": "http://www.w3.org/1999/xlink"})
_IDS = etree.XPath(
    ".//@a:id | .//@b:id", namespaces={"a": "http://www.opengis.net/gml", "b": "http://www.opengis.net/gml/3.2"}
)
_NOT_GEOMETRY = frozenset({"groupMember", "relatedTo", "generalizesTo", "parent", "address", "consistsOf", "boundary"})


@dataclass(frozen=True)
class Paint:
    """How one face looks: texture coordinates for each ring with the image's URI, or a colour."""

    uri: str = ""
    wrap: str = ""
    uv: tuple[NDArray[np.float32] | None, ...] = ()
    colour: tuple[int, int, int, int] | None = None


@dataclass
class SideStore:
    """Texture coordinates by ring, colours by surface, shared geometry by id."""

    n_rings: int = 0
    n_colours: int = 0
    wanted: set[str] = field(default_factory=set)
    n_links: int = 0
    n_link_bytes: int = 0
    is_full: bool = False

    def __post_init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._close = weakref.finalize(self, self._db.close)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000; BEGIN;"
            "CREATE TABLE image(id INTEGER PRIMARY KEY, uri TEXT, wrap TEXT);"
            "CREATE TABLE ring(id TEXT PRIMARY KEY, image INTEGER, uv BLOB) WITHOUT ROWID;"
            "CREATE TABLE colour(id TEXT PRIMARY KEY, rgba BLOB) WITHOUT ROWID;"
            "CREATE TABLE link(id TEXT PRIMARY KEY, xml BLOB);"
        )
        self._images: dict[int, tuple[str, str]] = {}
        self._cache: OrderedDict[str, Element] = OrderedDict()

    def add_image(self, uri: str, wrap: str) -> int:
        """Number of an image."""
        cursor = self._db.execute("INSERT INTO image(uri, wrap) VALUES (?, ?)", (uri, wrap))
        return int(cursor.lastrowid or 0)

    def add_ring(self, ring: str, image: int, uv: NDArray[np.float32]) -> None:
        """Texture coordinates of a ring; the first theme that paints it counts."""
        self._db.execute("INSERT OR IGNORE INTO ring VALUES (?, ?, ?)", (ring, image, uv.astype("<f4").tobytes()))
        self.n_rings += 1

    def add_colour(self, target: str, rgba: tuple[int, int, int, int]) -> None:
        """Colour of a surface."""
        self._db.execute("INSERT OR IGNORE INTO colour VALUES (?, ?)", (target, bytes(rgba)))
        self.n_colours += 1

    def paint(self, names: tuple[str, ...], rings: list[str | None]) -> Paint | None:
        """Of a face, by the ids of its rings, else of its polygon and the surfaces around it."""
        if self.n_rings and rings and rings[0] is not None:
            found = [self._ring(each) for each in rings]
            if found[0] is not None:
                uri, wrap = self._image(found[0][0])
                return Paint(uri, wrap, tuple(None if each is None else each[1] for each in found))
        if self.n_colours:
            for each in reversed(names):
                row = self._db.execute("SELECT rgba FROM colour WHERE id=?", (each,)).fetchone()
                if row is not None:
                    r, g, b, a = row[0]
                    return Paint(colour=(r, g, b, a))
        return None

    def _ring(self, ring: str | None) -> tuple[int, NDArray[np.float32]] | None:
        if ring is None:
            return None
        row = self._db.execute("SELECT image, uv FROM ring WHERE id=?", (ring,)).fetchone()
        return None if row is None else (row[0], np.frombuffer(row[1], "<f4").reshape(-1, 2))

    def _image(self, number: int) -> tuple[str, str]:
        if number not in self._images:
            if len(self._images) > 10_000:
                self._images.clear()
            row = self._db.execute("SELECT uri, wrap FROM image WHERE id=?", (number,)).fetchone()
            self._images[number] = (row[0], row[1])
        return self._images[number]

    def note_links(self, member: Element) -> None:
        """Remember which ids a member names but does not hold."""
        hrefs = {str(href)[1:] for href in _HREFS(member) if href.startswith("#") and _is_geometry(href.getparent())}
        if not hrefs:
            return
        missing = hrefs.difference(map(str, _IDS(member)))
        if len(self.wanted) + len(missing) > MAX_LINKS:
            self.is_full = True
            return
        self.wanted |= missing

    def keep_links(self, member: Element) -> None:
        """Keep the elements of a member that others name."""
        for each in member.iter():
            name = gml_id(each)
            if name is None or name not in self.wanted or "opengis.net/gml" not in namespace(each):
                continue
            data = etree.tostring(each, with_tail=False)
            self.n_link_bytes += len(data)
            if self.n_link_bytes > MAX_LINK_BYTES:
                self.is_full = True
                return
            self._db.execute("INSERT OR IGNORE INTO link VALUES (?, ?)", (name, data))
            self.n_links += 1

    def link(self, name: str) -> Element | None:
        """An element of another member, or None."""
        if not self.n_links:
            return None
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        row = self._db.execute("SELECT xml FROM link WHERE id=?", (name,)).fetchone()
        if row is None:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        element = etree.fromstring(row[0], parser)
        self._cache[name] = element
        if len(self._cache) > CACHED_LINKS:
            self._cache.popitem(last=False)
        return element


def _is_geometry(prop: Element) -> bool:
    return local(prop) not in _NOT_GEOMETRY and XLINK_HREF in prop.attrib
