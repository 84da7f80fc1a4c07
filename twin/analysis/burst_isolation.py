"""P28 burst-isolation: which valves to shut when links burst, what is then without water, and whose.

The segment of the burst is what hangs together with it without passing a valve; also without water is what has no way
to any source round the segment. A broken valve is no valve; one with the segment on both sides need not be shut; one
that is shut already is a border and is said to be shut. What had no way to a source before is listed apart.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, network, network_users, network_valves, place
from twin.analysis.burst_segments import Graph, Isolation, isolate
from twin.analysis.network import Network
from twin.analysis.network_valves import Placed
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City

USERS_REACH_M = 100.0


def burst_isolation(
    city: "City",
    *,
    burst: list[str],
    links: list[dict[str, Any]] | None = None,
    nodes: list[dict[str, Any]] | None = None,
    valves: list[dict[str, Any]] | None = None,
    sources: list[str] | None = None,
    users: list[dict[str, Any]] | None = None,
    users_property: str | None = None,
    users_reach_m: float = USERS_REACH_M,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """A burst of the links named. Without `links` and `valves` those of the city's water supply are taken.

    Sources are the nodes named, else those whose kind says so; where there are none, what lies beyond the segment is
    not known. `users` are features that belong to the nearest link; each counts 1, or its `users_property`.
    """
    asked = network.read(city, links or _own(city, "links", "pipe_water"), nodes or _nodes(city, links))
    progress(30, f"{len(asked.links)} links")
    known = asked.link_numbers
    hit = np.array([known[name] if name in known else asked.link(name, "burst") for name in burst], np.int64)
    given = valves or _own(city, "valves", "valve")
    found = network_valves.placed(
        [(each.get("collection"), place.features(city, "valves", each)) for each in given], asked
    )
    named = asked.node_numbers
    fed = np.array([named[name] if name in named else asked.node(name, "sources") for name in sources or ()], np.int64)
    if sources is None:
        fed = np.flatnonzero(asked.is_source)
    graph = graph_of(asked)
    result = isolate(graph, found.valves, hit, fed)
    progress(60, "users")
    told = network_users.read(city, users, asked, users_property, users_reach_m)
    return _answer(city, asked, found, result, has_sources=len(fed) > 0, users=told, crs=crs)


def graph_of(asked: Network) -> Graph:
    """Links that say they are closed let no water pass."""
    closed = np.array([network_valves.is_shut_word(text) for text in asked.words("status")], bool)
    return Graph(len(asked.nodes), asked.start, asked.end, closed)


def _own(city: "City", name: str, layer: str) -> list[dict[str, Any]]:
    if layer not in city:
        raise InvalidInput(f"{name}: the city has no layer {layer}.", f"Give {name}.")
    return [{"collection": layer}]


def _nodes(city: "City", links: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Those of the city, where links are the city's."""
    return None if links is not None or "pipe_node" not in city else [{"collection": "pipe_node"}]


def _answer(
    city: "City", asked: Network, found: Placed, result: Isolation, *, has_sources: bool,
    users: network_users.Users | None, crs: str | None,
) -> dict[str, Any]:  # fmt: skip
    def nodes(mask: Any) -> list[str]:
        return [asked.nodes[row] for row in np.flatnonzero(mask).tolist()]

    def links(mask: Any) -> list[str]:
        return [asked.links[row] for row in np.flatnonzero(mask).tolist()]

    without = result.in_link | result.cut_link
    answer: dict[str, Any] = {
        "valves": [_valve(asked, found, row) for row in np.flatnonzero(result.shut).tolist()],
        "segment": {"nodes": nodes(result.in_node), "links": links(result.in_link)},
        "sources_known": has_sources,
        "affected_nodes": nodes(result.in_node | result.cut_node) if has_sources else nodes(result.in_node),
        "cut_off_nodes": nodes(result.cut_node) if has_sources else None,
        "cut_off_links": links(result.cut_link) if has_sources else None,
        "island_nodes": nodes(result.dry_node) if has_sources else None,
        "broken_valves": found.broken,
        "unclear_valves": found.unclear,
        "n_valves_elsewhere": len(found.elsewhere),
        "affected_length_m": round(float(np.nansum(asked.length_m[without])), 6),
        "features": _features(city, asked, found, result, crs),
    }
    if users is not None:
        answer |= {
            "n_users": round(users.on_links(without), 6),
            "n_users_without_link": users.n_without_link,
        }
    return answer


def _valve(asked: Network, found: Placed, row: int) -> dict[str, Any]:
    return {
        "valve": found.names[row],
        "link": asked.links[found.valves.link[row]],
        "node": asked.nodes[found.valves.node[row]],
        "is_shut_already": bool(found.valves.is_shut[row]),
        "node_by_place": bool(found.by_place[row]),
    }


def _features(city: "City", asked: Network, found: Placed, result: Isolation, crs: str | None) -> dict[str, Any]:
    shapes: list[Any] = []
    rows: list[dict[str, Any]] = []
    for role, mask in (("segment", result.in_link), ("cut-off", result.cut_link)):
        for row in np.flatnonzero(mask & ~shapely.is_missing(asked.geometry)).tolist():
            shapes.append(asked.geometry[row])
            rows.append({"role": role, "link": asked.links[row]})
    for row in np.flatnonzero(result.shut).tolist():
        at = found.geometry[row]
        if at is None and np.isfinite(asked.xy[found.valves.node[row]]).all():
            at = shapely.Point(asked.xy[found.valves.node[row]])
        if at is not None:
            shapes.append(at)
            rows.append({"role": "valve", **_valve(asked, found, row)})
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return place.geojson(city, shapely.force_2d(array), rows, target=crs)


_NAMES = {"type": "array", "items": {"type": "string"}}
_OR_NULL = {"type": ["array", "null"], "items": {"type": "string"}}
PROCESS = Process(
    id="burst-isolation",
    title=Title("爆管关阀分析", "Burst isolation"),
    description=Title(
        "管段爆裂时须关闭的阀门、停水管段与节点、与所有水源断开的节点和受影响用户；损坏的阀门不计，两侧同属一段的阀门不必关。",
        "Valves to shut when links burst, the segment without water, nodes cut off from every source, and the users "
        "affected; broken valves do not count, a valve with the segment on both sides need not be shut.",
    ),
    inputs={
        "burst": Parameter(Title("爆裂管段", "Links that burst"), {"type": "string", "minLength": 1}, max_occurs=100),
        "links": Parameter(
            network.LINKS.title, network.LINKS.schema, required=False, max_occurs=12,
            description=network.LINKS.description,
        ),
        "nodes": network.NODES,
        "valves": Parameter(
            Title("阀门", "Valves"), features_input.SCHEMA, required=False, max_occurs=4,
            description=Title(
                "属性 link_id、protects_node（缺省取管段较近一端）、state（损坏的不计，关闭的为已关）",
                "With link_id, protects_node (the nearer end of the link when absent) and state (a broken one does not "
                "count, a closed one is shut already); need no geometry",
            ),
        ),
        "sources": Parameter(
            Title("水源节点", "Nodes that water comes from; by their kind when absent"),
            {"type": "string", "minLength": 1}, required=False, max_occurs=1000,
        ),
        "users": Parameter(
            Title("用户", "Users: features that belong to the nearest link"), features_input.SCHEMA, required=False,
            max_occurs=4,
        ),
        "users_property": Parameter(
            Title("用户数字段", "Property with the number of users; 1 each when absent"),
            {"type": "string", "minLength": 1}, required=False,
        ),
        "users_reach_m": Parameter(
            Title("用户到管段的最大距离", "How far a user may be from its link"),
            {"type": "number", "minimum": 0, "maximum": 10_000, "default": USERS_REACH_M, "x-unit": "m"},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "valves": Parameter(Title("须关阀门", "Valves to shut"), {"type": "array", "items": {"type": "object"}}),
        "segment": Parameter(Title("停水段", "Segment: nodes and links"), {"type": "object"}),
        "sources_known": Parameter(
            Title("水源是否已知", "Sources are known; if not, nothing is told beyond the segment"), {"type": "boolean"}
        ),
        "affected_nodes": Parameter(Title("停水节点", "Nodes without water"), _NAMES),
        "cut_off_nodes": Parameter(Title("与水源断开的节点", "Nodes cut off from every source"), _OR_NULL),
        "cut_off_links": Parameter(Title("与水源断开的管段", "Links cut off from every source"), _OR_NULL),
        "island_nodes": Parameter(
            Title("事前即无水源的节点", "Nodes that had no source before either"), _OR_NULL
        ),
        "broken_valves": Parameter(Title("损坏阀门", "Broken valves"), _NAMES),
        "unclear_valves": Parameter(Title("位置不明的阀门", "Valves whose link or node is not clear"), _NAMES),
        "n_valves_elsewhere": Parameter(Title("其他管网的阀门数", "Valves of other networks"), {"type": "integer"}),
        "affected_length_m": Parameter(Title("停水管长", "Length without water"), {"type": "number", "x-unit": "m"}),
        "n_users": Parameter(Title("受影响用户数", "Users without water"), {"type": "number"}),
        "n_users_without_link": Parameter(Title("未关联的用户", "Users that belong to no link"), {"type": "integer"}),
        "features": Parameter(Title("位置", "Segment, what is cut off, and valves"), place.FEATURES_OUT,
                              media_type=place.GEOJSON),
    },
    function=burst_isolation,
    keywords=("network", "burst", "valve", "isolation", "water supply"),
)  # fmt: skip
