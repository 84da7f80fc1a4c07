"""The plan of the town: street graph, street blocks with their use, river, shore, reservoir and pit outlines.

Streets follow the grid of `site`; a grid node exists where the ground is low, dry and inside the sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from shapely import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from sample_data.maker import site, terrain

I_RANGE, J_RANGE = range(-8, 9), range(-10, 11)
MAX_STREET_ELEV_M = 13.0
KERB_M = 17.0  # street axis to block edge: carriageway, footpath and all pipes lie within
BRIDGE_U, BRIDGE_V = {0, 2}, {-1, 2}  # street lines that may cross the river

Node = tuple[int, int]


@dataclass(frozen=True)
class Edge:
    """One street between neighbouring grid nodes `a` and `b` (`b` is one step right or up)."""

    a: Node
    b: Node
    bridge: bool

    @property
    def along_u(self) -> bool:
        """Runs along the grid's u axis."""
        return self.a[1] == self.b[1]

    @property
    def line(self) -> LineString:
        """The street's axis."""
        return LineString([node_map(self.a), node_map(self.b)])

    @property
    def road_class(self) -> str:
        """主干路, 次干路 or 支路."""
        return (
            "主干路"
            if (self.along_u and self.a[1] in {-1, 2}) or (not self.along_u and self.a[0] in {0, 3})
            else ("次干路" if (self.a[1] if self.along_u else self.a[0]) % 2 == 0 else "支路")
        )

    @property
    def width_m(self) -> float:
        """Of the carriageway."""
        return {"主干路": 28.0, "次干路": 18.0, "支路": 12.0}[self.road_class]


@dataclass(frozen=True)
class Block:
    """Land between streets; `kind` says what stands there."""

    i: int
    j: int
    kind: str
    shape: BaseGeometry

    @property
    def code(self) -> str:
        """Four digits, unique in the town."""
        return f"{self.i + 20:02d}{self.j + 20:02d}"


def node_map(node: Node, du: float = 0.0, dv: float = 0.0) -> tuple[float, float]:
    """(E, N) of a grid node, moved by (du, dv) metres in the grid."""
    e, n = site.grid_to_map(node[0] * site.BLOCK_U_M + du, node[1] * site.BLOCK_V_M + dv)
    return float(e), float(n)


def ground(e: float, n: float) -> float:
    return float(terrain.ground_elev_m(e, n))


def offset_river(extra_m: float, e0: float, e1: float, step_m: float = 20.0) -> Polygon:
    """The river between eastings, widened by `extra_m` on each side."""
    e = np.arange(e0, e1 + step_m / 2, step_m)
    n, slope, half = site.river_n(e), site.river_slope(e), site.river_half_width_m(e) + extra_m
    nx, ny = -slope / np.hypot(1, slope), 1 / np.hypot(1, slope)
    left = np.column_stack([e + nx * half, n + ny * half])
    right = np.column_stack([e - nx * half, n - ny * half])
    return Polygon(np.vstack([right, left[::-1]]))


def in_rotated(plot: site.Plot, grow_m: float = 0.0) -> BaseGeometry:
    return Polygon(plot.corners()).buffer(grow_m, join_style="mitre")


class Layout:
    """Everything that the other makers need to know about where things are."""

    @cached_property
    def sheet(self) -> Polygon:
        """The 2 km square."""
        return shapely.box(*site.BOUNDS)

    @cached_property
    def shore(self) -> LineString:
        """The shoreline, south to north."""
        n = np.arange(site.N_MIN, site.N_MAX + 1, 20.0)
        return LineString(np.column_stack([site.coast_e(n), n]))

    @cached_property
    def sea(self) -> Polygon:
        """The sheet east of the shore."""
        ring = np.vstack([self.shore.coords, [(site.E_MAX, site.N_MAX), (site.E_MAX, site.N_MIN)]])
        return Polygon(ring)

    @cached_property
    def land(self) -> BaseGeometry:
        """The sheet west of the shore."""
        return self.sheet.difference(self.sea)

    @cached_property
    def river(self) -> BaseGeometry:
        """The channel from the dam's foot to the shore."""
        return offset_river(0.0, site.E_MIN + 520, site.E_MIN + 1640).intersection(self.land)

    def river_zone(self, extra_m: float) -> BaseGeometry:
        """The channel and `extra_m` on both banks."""
        return offset_river(extra_m, site.E_MIN + 480, site.E_MIN + 1680).buffer(0).intersection(self.land)

    @cached_property
    def reservoir(self) -> BaseGeometry:
        """Outline of the pool at normal level, traced on 5 m cells."""
        step = 5.0
        e = np.arange(site.E_MIN + step / 2, site.E_MIN + 480, step)
        n = np.arange(site.N_MIN + 1380 + step / 2, site.N_MAX, step)
        wet = (terrain.ground_elev_m(e[None, :], n[:, None]) < site.RESERVOIR_NORMAL_LEVEL_M) & self._upstream(
            e[None, :], n[:, None]
        )
        r, c = np.nonzero(wet)
        cells = shapely.box(e[c] - step / 2, n[r] - step / 2, e[c] + step / 2, n[r] + step / 2)
        pool = shapely.union_all(cells)
        largest = max(shapely.get_parts(pool), key=shapely.area)
        return Polygon(largest.exterior).buffer(4.0).buffer(-4.0).simplify(3.0)

    @staticmethod
    def _upstream(e: np.ndarray, n: np.ndarray) -> np.ndarray:
        angle = np.radians(site.PLOTS["dam"].rotation_deg)
        return np.asarray((e - site.DAM_E) * np.sin(angle) - (n - site.DAM_N) * np.cos(angle) < 0)

    @cached_property
    def nodes(self) -> dict[Node, float]:
        """Node to ground height."""
        found = {}
        for i in I_RANGE:
            for j in J_RANGE:
                e, n = node_map((i, j))
                z = ground(e, n)
                dry = terrain.river_distance_m(e, n) > site.river_half_width_m(e) + 20 or e < site.E_MIN + 500
                inside = site.E_MIN + 20 < e < site.E_MAX - 20 and site.N_MIN + 20 < n < site.N_MAX - 20
                if inside and dry and z < MAX_STREET_ELEV_M and terrain.sea_distance_m(e, n) < -48:
                    found[i, j] = z
        return self._largest_component(found)

    @staticmethod
    def _largest_component(found: dict[Node, float]) -> dict[Node, float]:
        best: set[Node] = set()
        left = set(found)
        while left:
            seen, todo = set(), [min(left)]
            while todo:
                i, j = todo.pop()
                if (i, j) in left and (i, j) not in seen:
                    seen.add((i, j))
                    todo += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
            left -= seen
            best = max(best, seen, key=len)
        return {node: found[node] for node in sorted(best)}

    @cached_property
    def edges(self) -> list[Edge]:
        """All streets."""
        found = []
        for i, j in self.nodes:
            beside = (self._edge((i, j), b) for b in ((i + 1, j), (i, j + 1)) if b in self.nodes)
            found += [edge for edge in beside if edge is not None]
        return found

    def _edge(self, a: Node, b: Node) -> Edge | None:
        t = np.linspace(0, 1, 33)
        (e0, n0), (e1, n1) = node_map(a), node_map(b)
        e, n = e0 + t * (e1 - e0), n0 + t * (n1 - n0)
        if terrain.ground_elev_m(e, n).max() > MAX_STREET_ELEV_M + 2:
            return None
        wet = bool(np.any(terrain.river_distance_m(e, n) < site.river_half_width_m(e) + 3))
        allowed = (a[1] in BRIDGE_V) if a[1] == b[1] else (a[0] in BRIDGE_U)
        return None if wet and not allowed else Edge(a, b, wet)

    @cached_property
    def reserved(self) -> BaseGeometry:
        """Plots and pits with a margin: nothing else is built there."""
        return shapely.union_all([in_rotated(p, 10.0) for p in [*site.PLOTS.values(), *site.PITS.values()]])

    @cached_property
    def blocks(self) -> list[Block]:
        """All land between streets and waters that has a use."""
        keep_off = shapely.union_all([self.river_zone(22.0), self.sea.buffer(40.0)])
        sheet = self.sheet.buffer(-8.0)
        found = []
        for i in I_RANGE:
            for j in J_RANGE:
                corners = [
                    node_map((i, j), KERB_M, KERB_M),
                    node_map((i + 1, j), -KERB_M, KERB_M),
                    node_map((i + 1, j + 1), -KERB_M, -KERB_M),
                    node_map((i, j + 1), KERB_M, -KERB_M),
                ]
                shape = Polygon(corners).intersection(sheet).difference(keep_off)
                parts = [p for p in shapely.get_parts(shape) if isinstance(p, Polygon) and p.area > 1500]
                streets = sum(corner in self.nodes for corner in ((i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)))
                for part in parts:
                    kind = self._kind(i, j, part, streets)
                    if kind:
                        found.append(Block(i, j, kind, part))
        return found

    def _kind(self, i: int, j: int, shape: Polygon, streets: int) -> str:
        centre = shape.representative_point()
        z = ground(centre.x, centre.y)
        if z > 16:
            return ""
        u, v = (i + 0.5) * site.BLOCK_U_M, (j + 0.5) * site.BLOCK_V_M
        from_centre = float(np.hypot(u - 80, v + 160))
        if shape.area < 5500 and from_centre < 800:
            return "park"
        special = {
            (0, -2): "office",
            (-2, -2): "public",
            (-1, -3): "public",
            (1, -3): "pit",
            (-1, -5): "pit",
            (-1, -2): "park",
            (2, -5): "hospital",
            (-3, -4): "public",
            (1, -1): "plaza",
        }
        if (i, j) in special:
            return special[i, j]
        if streets < 3:
            return "field"
        if u > 200 and v > 260:
            return "industry"
        if z > 8.0 or from_centre > 800:
            return "village" if (i * 7 + j * 3) % 4 in {0, 1, 2} else "field"
        if from_centre < 330:
            return "commerce"
        return "park" if (i * 5 + j * 11) % 13 == 4 else "housing"

    @cached_property
    def dam_road(self) -> LineString:
        """The lane from the town to the dam crest."""
        start = min(self.nodes, key=lambda k: Point(node_map(k)).distance(Point(site.DAM_E + 250, site.DAM_N - 330)))
        end = site.dam_crest_line()[0, :2]
        s = np.array(node_map(start))
        bend = np.array([site.DAM_E + 60, site.DAM_N - 230])
        t = np.linspace(0, 1, 25)[:, None]
        return LineString((1 - t) ** 2 * s + 2 * t * (1 - t) * bend + t**2 * end)
