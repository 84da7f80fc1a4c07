"""Valves of a network: on which link, at which of its nodes, in what state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis import place
from twin.analysis.burst_segments import Valves
from twin.analysis.network import Network
from twin.store.interface import Features

IntArray = NDArray[np.int64]
BROKEN = ("坏", "故障", "失灵", "失效", "锈死", "broken", "inoperable", "stuck", "failed")
SHUT = ("关", "关闭", "常闭", "closed", "close", "shut")
LINK = ("link_id", "link")
NODE = ("protects_node", "node", "node_code")


@dataclass(frozen=True)
class Placed:
    """Valves that lie on links of the network.

    Attributes
    ----------
    valves : those that can be moved
    names : (v,) theirs
    broken : names of those that cannot; they part nothing
    elsewhere : names of those whose link is not of the network
    unclear : names of those whose node is no end of their link, or that do not say on which link they are
    by_place : (v,) whether the node is the nearer end of the link, because the valve names none
    geometry : (v,) points in the city's CRS, None where there are none
    """

    valves: Valves
    names: list[str]
    broken: list[str]
    elsewhere: list[str]
    unclear: list[str]
    by_place: NDArray[np.bool_]
    geometry: NDArray[np.object_]


def placed(found: Sequence[tuple[str | None, Features]], network: Network) -> Placed:
    """Features of valves (with their layer) -> where they lie. A second valve at the same place stays one."""
    links, nodes = network.link_numbers, network.node_numbers
    lists: dict[str, list[str]] = {"broken": [], "elsewhere": [], "unclear": []}
    rows: list[tuple[int, int, bool, bool, str, shapely.Geometry | None]] = []
    for layer, features in found:
        said = zip(
            features.ids, _words(features, LINK), _words(features, NODE), place.words(features, "state"),
            features.geometry, strict=True,
        )  # fmt: skip
        for feature, link, node, state, shape in said:
            name = feature if layer is None else f"{layer}/{feature}"
            plain = (state or "").strip().lower()
            if link is None:
                lists["unclear"].append(name)
            elif link not in links:
                lists["elsewhere"].append(name)
            elif any(word in plain for word in BROKEN):
                lists["broken"].append(name)
            else:
                end = nodes.get(node, -1) if node is not None else _nearer_end(network, links[link], shape)
                if end not in {network.start[links[link]], network.end[links[link]]}:
                    lists["unclear"].append(name)
                else:
                    rows.append((links[link], end, plain in SHUT, node is None, name, shape))
    shapes = np.empty(len(rows), object)
    shapes[:] = [row[5] for row in rows]
    on, at = (np.array([row[k] for row in rows], np.int64) for k in (0, 1))
    return Placed(
        Valves(on, at, np.array([row[2] for row in rows], bool)),
        [row[4] for row in rows], lists["broken"], lists["elsewhere"], lists["unclear"],
        np.array([row[3] for row in rows], bool), shapes,
    )  # fmt: skip


def is_shut_word(text: str | None) -> bool:
    """Whether a state or status says that no water passes."""
    return (text or "").strip().lower() in SHUT


def _words(features: Features, names: Sequence[str]) -> list[str | None]:
    column = next((name for name in names if name in features.attributes.column_names), names[0])
    return place.words(features, column)


def _nearer_end(network: Network, link: int, shape: shapely.Geometry | None) -> int:
    """The end of the link that a point is nearer to, along it; -1 where either has no place."""
    line = network.geometry[link]
    if shape is None or line is None or shapely.is_empty(shape) or shapely.is_empty(line):
        return -1
    along = shapely.line_locate_point(shapely.force_2d(line), shapely.centroid(shape))
    length = shapely.length(line)
    return int(network.start[link] if along <= length - along else network.end[link])
