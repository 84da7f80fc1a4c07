"""Layers of links (and of nodes) as one graph: by the nodes that links name, else by ends that share a place.

A link is a line with `start_node` and `end_node` (also `from_node`, `from`; `to_node`, `to`), or just a line. Ends
without a name are the node, or the other end, that lies within `SNAP_M` of them. Nothing else joins links.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are first asked
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.process import Parameter
from twin.fuse.pipes import FLOWS_BACK
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SNAP_M = 0.02
MOST_LINKS = 2_000_000
START = ("start_node", "from_node", "from", "start")
END = ("end_node", "to_node", "to", "end")
CODES = ("node_code", "node_id", "code")
"""Properties of a node that links may name it by; its id else."""
SOURCE_WORDS = ("reservoir", "tank", "source", "水源", "水厂", "水库", "水塔", "高位水池", "清水池", "加压泵站")


@dataclass(frozen=True)
class Network:
    """(m,) links between (n,) nodes.

    Attributes
    ----------
    links, nodes : names; a node without a name is `@east,north`
    start, end : (m,) nodes
    length_m : as stated, else in plan; NaN where there is neither
    is_reversed : (m,) whether the flow goes from end to start
    geometry : (m,) lines in the city's CRS, None where a link has none
    xy : (n, 2) NaN where a node has no place
    is_source : (n,) nodes that say so
    parts : the features that links were made of, in their order
    node_features : those of nodes, and the node that each is; -1 for one of another network
    """

    links: list[str]
    nodes: list[str]
    start: IntArray
    end: IntArray
    length_m: FloatArray
    is_reversed: NDArray[np.bool_]
    geometry: NDArray[np.object_]
    xy: FloatArray
    is_source: NDArray[np.bool_]
    parts: list[tuple[str | None, Features]]
    node_features: list[tuple[Features, IntArray]]

    def node(self, name: str, given: str = "node") -> int:
        """Number of a node; InvalidInput names the input."""
        if name not in self.node_numbers:
            raise InvalidInput(f"{given}: the network has no node {name[:60]!r}.", _near(name, self.nodes))
        return self.node_numbers[name]

    def link(self, name: str, given: str = "link") -> int:
        """Number of a link, by its name or, where that is the only one, its id without the layer."""
        if name not in self.link_numbers:
            raise InvalidInput(f"{given}: the network has no link {name[:60]!r}.", _near(name, self.links))
        return self.link_numbers[name]

    @cached_property
    def node_numbers(self) -> dict[str, int]:
        """By name."""
        return {name: row for row, name in enumerate(self.nodes)}

    @cached_property
    def link_numbers(self) -> dict[str, int]:
        """By name, and by id without the layer where only one link has it."""
        short: dict[str, int] = {}
        for row, name in enumerate(self.links):
            bare = name.rpartition("/")[2]
            short[bare] = -1 if bare in short else row
        return {key: row for key, row in short.items() if row >= 0} | {name: row for row, name in enumerate(self.links)}

    def numbers(self, name: str) -> FloatArray:
        """(m,) a property of links, NaN where it is missing."""
        return np.concatenate([place.numbers(found, name, "links") for _, found in self.parts])

    def words(self, name: str) -> list[str | None]:
        """(m,) likewise as text."""
        return [text for _, found in self.parts for text in place.words(found, name)]


def _near(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, names[:20_000], n=3)
    return f"Did you mean {', '.join(found)}?" if found else f"It has {', '.join(names[:5])} …"


def read(city: "City", links: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]] | None = None) -> Network:
    """The network that inputs (values of `features_input.SCHEMA`) mean. Links that name nodes need no geometry."""
    parts = [(_layer(each), place.features(city, "links", each, most=MOST_LINKS)) for each in links]
    found = [] if nodes is None else [(_layer(each), place.features(city, "nodes", each)) for each in nodes]
    return made(parts, found)


def _layer(given: Mapping[str, Any]) -> str | None:
    return str(given["collection"]) if "collection" in given else None


def made(parts: list[tuple[str | None, Features]], with_layers: Sequence[tuple[str | None, Features]] = ()) -> Network:
    """Features of links and of nodes, each list with its layer -> the network. InvalidInput names what cannot be.

    A node at no link is one of the network only where it was given, not where it is of a layer of the city, which may
    hold nodes of other networks.
    """
    nodes = [found for _, found in with_layers]
    geometry = np.concatenate([found.geometry for _, found in parts])
    links = [text if layer is None else f"{layer}/{text}" for layer, found in parts for text in found.ids]
    _check_links(links, geometry)
    codes = np.stack([_codes(parts, START), _codes(parts, END)], axis=1)
    xy = _end_places(geometry)
    lost = np.flatnonzero((codes == None).any(axis=1) & np.isnan(xy).any(axis=(1, 2)))  # noqa: E711 element by element
    if lost.size:
        raise InvalidInput(
            f"links: {links[lost[0]]!r} names no node and has no geometry.", "Give start_node and end_node, or a line."
        )
    names_of_nodes = np.array([text for found in nodes for text in _node_codes(found)], object)
    places = [shapely.get_coordinates(shapely.centroid(found.geometry)) if _all_placed(found) else _sparse(found)
              for found in nodes]  # fmt: skip
    all_codes = np.concatenate([codes.ravel(), names_of_nodes])
    all_xy = np.concatenate([xy.reshape(-1, 2), *places]) if places else xy.reshape(-1, 2)
    label, names, where = _merged(all_codes, all_xy)
    keep = np.zeros(len(names), bool)
    keep[label[: codes.size]] = True
    offsets = np.cumsum([codes.size, *(len(found) for found in nodes)])
    for k, (layer, _) in enumerate(with_layers):
        if layer is None:
            keep[label[offsets[k] : offsets[k + 1]]] = True
    label = np.where(keep[label], (np.cumsum(keep) - 1)[label], -1)
    names, where = [names[row] for row in np.flatnonzero(keep).tolist()], where[keep]
    ends = label[: codes.size].reshape(-1, 2)
    node_features = [(found, label[offsets[k] : offsets[k + 1]]) for k, found in enumerate(nodes)]
    stated = np.concatenate([place.numbers(found, "length_m", "links") for _, found in parts])
    bad = np.flatnonzero((stated < 0) | np.isinf(stated))
    if bad.size:
        raise InvalidInput(f"links: {links[bad[0]]!r} has length_m {stated[bad[0]]:g}.", "It cannot be negative.")
    length = np.where(np.isnan(stated), shapely.length(geometry), stated)
    length[np.isnan(stated) & shapely.is_missing(geometry)] = np.nan
    back = np.isin([str(text) for _, found in parts for text in place.words(found, "flow_dir")], FLOWS_BACK)
    return Network(
        links, names, ends[:, 0], ends[:, 1], length, back, geometry, where, _sources(len(names), node_features), parts,
        node_features,
    )  # fmt: skip


def _check_links(links: list[str], geometry: NDArray[np.object_]) -> None:
    types = shapely.get_type_id(geometry)
    bad = np.flatnonzero(~np.isin(types, [-1, 1, 5]))
    if bad.size:
        kind = shapely.GeometryType(int(types[bad[0]])).name
        raise InvalidInput(f"links: {links[bad[0]]!r} has a {kind}.", "It takes LineString or MultiLineString.")
    if len(set(links)) < len(links):
        seen: set[str] = set()
        twice = next(name for name in links if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidInput(f"links: {twice!r} is there twice.", "Give every link an id of its own.")


def _codes(parts: list[tuple[str | None, Features]], names: Sequence[str]) -> NDArray[np.object_]:
    found: list[str | None] = []
    for _, features in parts:
        column = next((name for name in names if name in features.attributes.column_names), names[0])
        found += place.words(features, column)
    return np.array(found, object)


def _node_codes(found: Features) -> list[str]:
    column = next((name for name in CODES if name in found.attributes.column_names), None)
    given = [None] * len(found) if column is None else place.words(found, column)
    return [each if each is not None else name for each, name in zip(given, found.ids, strict=True)]


def _all_placed(found: Features) -> bool:
    return not (shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry)).any()


def _sparse(found: Features) -> FloatArray:
    out = np.full((len(found), 2), np.nan)
    rows = np.flatnonzero(~(shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry)))
    out[rows] = shapely.get_coordinates(shapely.centroid(found.geometry[rows]))
    return out


def _end_places(geometry: NDArray[np.object_]) -> FloatArray:
    """(m, 2, 2) first and last point, NaN where there is none."""
    out = np.full((len(geometry), 2, 2), np.nan)
    rows = np.flatnonzero(~(shapely.is_missing(geometry) | shapely.is_empty(geometry)))
    for end, at in ((0, 0), (1, -1)):
        points = shapely.get_point(shapely.get_geometry(geometry[rows], at), at)
        out[rows, end] = shapely.get_coordinates(points).reshape(-1, 2)
    return out


def _merged(codes: NDArray[np.object_], xy: FloatArray) -> tuple[IntArray, list[str], FloatArray]:
    """(k,) ends with code or place -> number of the node of each, names and places of the nodes."""
    k = len(codes)
    coded = np.flatnonzero(codes != None)  # noqa: E711 element by element
    pairs: list[tuple[IntArray, IntArray]] = [(np.arange(k), np.arange(k))]
    if len(coded):
        _, first, group = np.unique(codes[coded].astype(str), return_index=True, return_inverse=True)
        pairs.append((coded, coded[first][group]))
    bare = np.flatnonzero((codes == None) & ~np.isnan(xy[:, 0]))  # noqa: E711 element by element
    placed = np.flatnonzero(~np.isnan(xy[:, 0]))
    if len(bare):
        near = scipy.spatial.cKDTree(xy[placed]).query_ball_point(xy[bare], SNAP_M)
        count = np.array([len(each) for each in near])
        pairs.append((np.repeat(bare, count), placed[np.concatenate(near).astype(np.int64)]))
    a, b = (np.concatenate(each) for each in zip(*pairs, strict=True))
    n, label = scipy.sparse.csgraph.connected_components(
        scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(k, k)), directed=False
    )
    where = np.full((n, 2), np.nan)
    where[label[placed[::-1]]] = xy[placed[::-1]]
    names = [f"@{x:.2f},{y:.2f}" for x, y in where.tolist()]
    for row in coded[::-1].tolist():
        names[label[row]] = str(codes[row])
    return np.asarray(label, np.int64), names, where


def _sources(n: int, found: Sequence[tuple[Features, IntArray]]) -> NDArray[np.bool_]:
    """Nodes whose kind, type, feature or appendage says that water comes from there."""
    out = np.zeros(n, bool)
    for features, number in found:
        for column in ("kind", "node_type", "feature", "appendage"):
            for row, text in enumerate(place.words(features, column)):
                if text is not None and number[row] >= 0 and any(word in text.lower() for word in SOURCE_WORDS):
                    out[number[row]] = True
    return out


LINKS = Parameter(
    Title("管段", "Links"),
    features_input.SCHEMA,
    max_occurs=12,
    description=Title(
        "线要素；start_node、end_node 为两端节点（缺省按端点位置相接），length_m 为长度（缺省为平面长度）",
        "Lines; start_node and end_node name the nodes at both ends (ends that share a place are joined where they are "
        "absent), length_m is the length (in plan when absent). A link that names its nodes needs no geometry",
    ),
)
NODES = Parameter(
    Title("节点", "Nodes"),
    features_input.SCHEMA,
    required=False,
    max_occurs=4,
    description=Title(
        "点要素；编号为 node_code、node_id 或要素标识；kind 等含 reservoir、tank、水源、水厂 的为水源",
        "Points; named by node_code, node_id or their id; those whose kind (or node_type, feature, appendage) has "
        "reservoir, tank, 水源, 水厂 … are sources",
    ),
)


def islands_of(network: Network) -> IntArray:
    """(n,) number of the part that each node hangs together with."""
    from twin.analysis.network_reach import islands

    return islands(len(network.nodes), network.start, network.end)
