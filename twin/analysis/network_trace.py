"""P27 network-trace: what lies up or down a network from some nodes, and how long the water takes to or from there.

Travel time is length by velocity, by the quickest way. A link whose velocity is 0 or not known is never passed, and is
listed. Parts of the network that do not hang together with the nodes asked for are listed apart. `source` looks up the
network within a time: where something that arrives now can have come from.
"""

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, network, pipe_drains, place
from twin.analysis.network import Network
from twin.analysis.network_reach import Reach, islands, reach
from twin.analysis.pipes import from_features
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.supervision.rules import on_day

if TYPE_CHECKING:
    from twin.city import City

MOST = 100_000
SNAP_M = 10.0


def network_trace(
    city: "City",
    *,
    links: list[dict[str, Any]],
    direction: str,
    nodes: list[dict[str, Any]] | None = None,
    node: list[str] | None = None,
    at: dict[str, Any] | None = None,
    snap_m: float = SNAP_M,
    seconds: float | None = None,
    velocity_m_s: float | None = None,
    full_bore: bool = False,
    by: str = "time",
    limit: int = MOST,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Links and nodes up or down from `node` (names) and from the nodes nearest to the features `at`.

    Velocity of a link is its property `velocity_m_s` (negative: against its direction), else that at full bore where
    asked, else the input `velocity_m_s`. `by` `connection` asks for no velocity: then distances are told, no times.
    """
    if direction == "source" and seconds is None:
        raise InvalidInput("seconds is missing.", "A search for sources needs the time within which water came.")
    if by == "connection" and seconds is not None:
        raise InvalidInput("seconds has no meaning by connection.", "Leave it out, or ask by time.")
    asked = network.read(city, links, nodes)
    progress(30, f"{len(asked.links)} links")
    origins = _origins(city, asked, node, at, snap_m)
    start, end, cost = _costs(city, asked, velocity_m_s, full_bore=full_bore, by=by)
    found = reach(
        len(asked.nodes), start, end, cost, origins, is_up=direction != "down",
        limit=np.inf if seconds is None else seconds,
    )  # fmt: skip
    progress(70, "answer")
    return _answer(city, asked, (start, end), origins, found, direction=direction, by=by, limit=limit, crs=crs)


def _origins(
    city: "City", asked: Network, names: list[str] | None, at: dict[str, Any] | None, snap_m: float
) -> np.ndarray:
    known = asked.node_numbers
    for name in names or ():
        if name not in known:
            asked.node(name)  # says what it has
    found = [known[name] for name in names or ()]
    if at is not None:
        points = place.features(city, "at", at, properties=())
        rows = np.flatnonzero(np.isfinite(asked.xy).all(axis=1))
        spots = shapely.points(asked.xy[rows])
        for row, shape in enumerate(points.geometry):
            far = shapely.distance(spots, shape) if len(rows) else np.full(1, np.inf)
            if not far.min(initial=np.inf) <= snap_m:
                least = f"the nearest is {far.min():.1f} m away" if len(rows) else "none has a place"
                raise InvalidInput(f"at: no node within {snap_m:g} m of {points.ids[row]!r}; {least}.", "Raise snap_m.")
            found.append(int(rows[np.argmin(far)]))
    if not found:
        raise InvalidInput("node: nothing to trace from.", "Give node or at.")
    return np.array(found, np.int64)


def _costs(
    city: "City", asked: Network, velocity_m_s: float | None, *, full_bore: bool, by: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and cost of links: seconds, or metres by connection."""
    velocity = asked.numbers("velocity_m_s")
    bad = np.flatnonzero(np.isinf(velocity))
    if bad.size:
        raise InvalidInput(f"links: {asked.links[bad[0]]!r} has velocity_m_s {velocity[bad[0]]}.", "Give a number.")
    if full_bore:
        velocity = np.where(np.isnan(velocity), _full_bore(city, asked), velocity)
    if velocity_m_s is not None:
        velocity = np.where(np.isnan(velocity), velocity_m_s, velocity)
    turned = asked.is_reversed ^ (velocity < 0)
    start, end = np.where(turned, asked.end, asked.start), np.where(turned, asked.start, asked.end)
    if by == "connection":
        return start, end, np.nan_to_num(asked.length_m, nan=0.0)
    speed = np.abs(velocity)
    if not (speed > 0).any():
        raise InvalidInput(
            "velocity_m_s: no link has a velocity, so nothing is ever reached.",
            "Give velocity_m_s (a property of links, or for all), full_bore for drains, or by = connection.",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return start, end, np.where(speed > 0, asked.length_m / speed, np.nan)


def _full_bore(city: "City", asked: Network) -> np.ndarray:
    """Manning's velocity of links that are pipes with a size, a material and a fall; NaN of others."""
    book = on_day(dt.datetime.now(dt.UTC).date(), city.folder)
    found = []
    for layer, features in asked.parts:
        if shapely.is_missing(features.geometry).any():
            found.append(np.full(len(features), np.nan))
        else:
            found.append(pipe_drains.full_bore(from_features(features, layer, "links"), book))
    return np.concatenate(found)


def _answer(
    city: "City", asked: Network, ends: tuple[np.ndarray, np.ndarray], origins: np.ndarray, found: Reach, *,
    direction: str, by: str, limit: int, crs: str | None,
) -> dict[str, Any]:  # fmt: skip
    name = "travel_s" if by == "time" else "distance_m"
    is_known = by == "time" or not np.isnan(asked.length_m).any()  # else no distance would be right
    is_start = np.zeros(len(asked.nodes), bool)
    is_start[origins] = True
    fed = np.zeros(len(asked.nodes), bool)  # nodes that links go on from, in the direction asked
    fed[ends[0] if direction == "down" else ends[1]] = True
    rows = np.flatnonzero(np.isfinite(found.node) & ~is_start)
    rows = rows[np.argsort(found.node[rows], kind="stable")]
    on = np.flatnonzero(found.share > 0)
    on = on[np.argsort(np.where(np.isfinite(found.link[on]), found.link[on], np.inf), kind="stable")]
    told = [
        {
            "link": asked.links[k], name: _number(found.link[k]) if is_known else None,
            "share": round(float(found.share[k]), 9), "length_m": _number(asked.length_m[k]),
        } for k in on[:limit].tolist()
    ]  # fmt: skip
    apart = _apart(asked, ends, origins)
    return {
        "direction": direction,
        "start": [asked.nodes[k] for k in dict.fromkeys(origins.tolist())],
        "n_nodes": len(rows),
        "n_links": len(on),
        "is_complete": max(len(rows), len(on)) <= limit,
        "nodes": [
            {"node": asked.nodes[k], name: _number(found.node[k]) if is_known else None} for k in rows[:limit].tolist()
        ],
        "links": told,
        "last_nodes": [asked.nodes[k] for k in rows.tolist() if not fed[k]][:limit],
        "sources": [asked.nodes[k] for k in rows.tolist() if asked.is_source[k]][:limit],
        "never_reached": [asked.links[k] for k in np.flatnonzero(~found.is_open).tolist()][:limit],
        "islands": apart[:1000],
        "length_m": round(float(np.nansum(asked.length_m[on] * found.share[on])), 6),
        "features": _features(city, asked, on[:limit], told, crs),
    }


def _apart(asked: Network, ends: tuple[np.ndarray, np.ndarray], origins: np.ndarray) -> list[dict[str, Any]]:
    """Parts that do not hang together with a node that was asked for, largest first."""
    label = islands(len(asked.nodes), *ends)
    own = set(label[origins].tolist())
    n_nodes, n_links = np.bincount(label), np.bincount(label[ends[0]], minlength=label.max(initial=0) + 1)
    with_source = set(label[asked.is_source].tolist())
    first = {each: row for row, each in reversed(list(enumerate(label.tolist())))}
    order = sorted((each for each in first if each not in own), key=lambda each: -int(n_nodes[each]))
    return [
        {"n_nodes": int(n_nodes[each]), "n_links": int(n_links[each]), "node": asked.nodes[first[each]],
         "has_source": each in with_source} for each in order
    ]  # fmt: skip


def _features(
    city: "City", asked: Network, rows: np.ndarray, told: list[dict[str, Any]], crs: str | None
) -> dict[str, Any]:
    has = ~shapely.is_missing(asked.geometry[rows])
    chosen = [each for each, ok in zip(told, has, strict=True) if ok]
    return place.geojson(city, shapely.force_2d(asked.geometry[rows[has]]), chosen, target=crs)


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


_S = {"type": ["number", "null"], "x-unit": "s"}
_M = {"type": ["number", "null"], "x-unit": "m"}
PROCESS = Process(
    id="network-trace",
    title=Title("管网追踪", "Network trace"),
    description=Title(
        "沿管网向上游、下游追踪，或在给定时间内溯源；流行时间为长度除以流速，取最快路径；"
        "流速为 0 或未知的管段不通过并列出。",
        "Up or down a network from nodes, or where water can have come from within a time; travel time is length by "
        "velocity on the quickest way; links whose velocity is 0 or unknown are never passed, and listed.",
    ),
    inputs={
        "links": network.LINKS,
        "direction": Parameter(
            Title("方向", "Direction"),
            {"type": "string", "enum": ["up", "down", "source"]},
            description=Title("source 需要 seconds", "source needs seconds"),
        ),
        "nodes": network.NODES,
        "node": Parameter(
            Title("起点", "Nodes to trace from"), {"type": "string", "minLength": 1}, required=False, max_occurs=1000
        ),
        "at": Parameter(
            Title("起点位置", "Places to trace from: the nearest node of each"), features_input.SCHEMA, required=False
        ),
        "snap_m": Parameter(
            Title("位置到节点的最大距离", "How far a node may be from a place"),
            {"type": "number", "minimum": 0, "maximum": 1000, "default": SNAP_M, "x-unit": "m"},
            required=False,
        ),
        "seconds": Parameter(
            Title("时间上限", "Within"), {"type": "number", "minimum": 0, "maximum": 1e9, "x-unit": "s"}, required=False
        ),
        "velocity_m_s": Parameter(
            Title("缺流速管段的流速", "Velocity of links that have none"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 50, "x-unit": "m/s"},
            required=False,
        ),
        "full_bore": Parameter(
            Title("缺流速时按满流曼宁公式", "Take the velocity at full bore (Manning) where none is given"),
            {"type": "boolean", "default": False},
            required=False,
        ),
        "by": Parameter(
            Title("按时间或连通", "By time, or by connection alone"),
            {"type": "string", "enum": ["time", "connection"], "default": "time"},
            required=False,
        ),
        "limit": Parameter(
            Title("最多列出", "List at most"),
            {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": MOST},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "direction": Parameter(Title("方向", "Direction"), {"type": "string"}),
        "start": Parameter(Title("起点", "Start"), {"type": "array", "items": {"type": "string"}}),
        "n_nodes": Parameter(Title("节点数", "Nodes reached"), {"type": "integer"}),
        "n_links": Parameter(Title("管段数", "Links reached"), {"type": "integer"}),
        "is_complete": Parameter(Title("是否全部列出", "All are listed"), {"type": "boolean"}),
        "nodes": Parameter(
            Title("节点", "Nodes, nearest first"),
            {"type": "array", "items": {"type": "object", "properties": {"travel_s": _S, "distance_m": _M}}},
        ),
        "links": Parameter(
            Title("管段", "Links; time to the far end, and the share that is reached"),
            {
                "type": "array",
                "items": {"type": "object", "properties": {"travel_s": _S, "distance_m": _M, "length_m": _M}},
            },
        ),
        "last_nodes": Parameter(
            Title("末端节点", "Nodes from which nothing goes on: heads upstream, outlets downstream"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "sources": Parameter(Title("水源", "Sources reached"), {"type": "array", "items": {"type": "string"}}),
        "never_reached": Parameter(
            Title("不通过的管段", "Links whose velocity is 0 or unknown"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "islands": Parameter(
            Title("孤立部分", "Parts that do not hang together with the start"),
            {"type": "array", "items": {"type": "object"}},
        ),
        "length_m": Parameter(Title("管段总长", "Length reached"), {"type": "number", "x-unit": "m"}),
        "features": Parameter(Title("管段", "Links as lines"), place.FEATURES_OUT, media_type=place.GEOJSON),
    },
    function=network_trace,
    keywords=("network", "trace", "upstream", "source"),
)
