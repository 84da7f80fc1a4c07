"""Eight kinds of pipes along the streets, their nodes, valves, hydrants and pumps.

Each kind keeps one offset from the street axis and one depth, so that the undisturbed network keeps every clearance;
the conflicts are extra short pipes in `pipe_conflicts`. Gravity pipes fall towards their outlets. Field names follow
CJJ 61-2017 usage: pressure pipes and cables are measured at the crown (管顶), gravity pipes at the invert (管底).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sample_data.maker import site
from sample_data.maker.layout import Edge, Layout, Node, ground, node_map
from sample_data.maker.town import Town

Xyz = tuple[float, float, float]


@dataclass(frozen=True)
class Kind:
    """One kind of pipe: CJJ 61 letters, offset from the street axis, usual depth of its reference line."""

    id: str
    letters: str
    title: str
    offset_m: float
    depth_m: float
    gravity: bool
    material: str
    burial: str
    owner: str


KINDS = {
    k.id: k
    for k in (
        Kind("pipe_water", "JS", "给水", 6.0, 2.3, False, "球墨铸铁", "直埋", "清湾自来水公司"),
        Kind("pipe_sewage", "WS", "污水", -1.5, 4.7, True, "HDPE", "直埋", "清湾排水公司"),
        Kind("pipe_rain", "YS", "雨水", 2.5, 3.7, True, "混凝土", "直埋", "清湾排水公司"),
        Kind("pipe_gas", "RQ", "燃气", -5.0, 1.15, False, "PE", "直埋", "清湾燃气公司"),
        Kind("pipe_heat", "RL", "热力", 9.0, 0.7, False, "钢", "直埋", "滨海热力公司"),
        Kind("pipe_power", "DL", "电力", 12.0, 1.75, False, "CPVC", "管块", "清湾供电公司"),
        Kind("pipe_telecom", "TX", "通信", -11.0, 0.7, False, "PVC", "管块", "清湾通信管线公司"),
        Kind("pipe_industry", "GY", "工业", -8.0, 1.23, False, "不锈钢", "直埋", "滨海工业园"),
    )
}

OUTER_MM = {
    "pipe_water": {150: 170, 200: 222, 300: 326, 400: 429},
    "pipe_sewage": {300: 355, 400: 450, 500: 560},
    "pipe_rain": {300: 360, 400: 480, 600: 720, 800: 960},
    "pipe_gas": {90: 90, 110: 110, 160: 160, 200: 200},
    "pipe_heat": {200: 315, 250: 365},
    "pipe_power": {175: 175},
    "pipe_telecom": {160: 160},
    "pipe_industry": {150: 168},
}


@dataclass
class Pipe:
    """One pipe; z of both ends is the height of its reference line (`z_ref`), 1985 datum."""

    id: str
    kind: Kind
    start: str
    end: str
    coords: tuple[Xyz, ...]
    dn_mm: int
    year: int
    pressure: str = ""
    voltage_kv: float | None = None
    monitored: bool = False
    burial: str = ""
    material: str = ""

    @property
    def od_mm(self) -> int:
        """Outer diameter of the kind's usual wall."""
        return OUTER_MM[self.kind.id][self.dn_mm]

    @property
    def z_ref(self) -> str:
        """What z is the height of: `crown` or `invert`."""
        return "invert" if self.kind.gravity else "crown"

    @property
    def length_m(self) -> float:
        """In plan."""
        p = np.asarray(self.coords)
        return float(np.hypot(*np.diff(p[:, :2], axis=0).T).sum())


class Network:
    """The pipes of all kinds before conflicts are planted."""

    def __init__(self, town: Town) -> None:
        self.plan: Layout = town.plan
        self.rng = np.random.default_rng([town.seed, 7])

    @cached_property
    def pipes(self) -> dict[str, list[Pipe]]:
        """Layer id -> pipes."""
        return {kind.id: self._gravity(kind) if kind.gravity else self._pressure(kind) for kind in KINDS.values()}

    def streets(self, kind: Kind) -> list[Edge]:
        """The streets that carry a kind."""
        edges = [e for e in self.plan.edges if max(self.plan.nodes[e.a], self.plan.nodes[e.b]) < 11.5]
        if kind.id == "pipe_water":
            return edges
        edges = [e for e in edges if not e.bridge]
        if not kind.gravity:  # where the ground is steep, pipes of different offsets would not keep their layers
            edges = [e for e in edges if max(self.plan.nodes[e.a], self.plan.nodes[e.b]) < 8.0]
        works = [e for e in edges if _works(e.a) and _works(e.b)]
        if kind.id in {"pipe_heat", "pipe_industry"}:
            return works if kind.id == "pipe_heat" else [e for e in works if not e.along_u]
        if kind.id == "pipe_gas":
            return [e for e in edges if not (_works(e.a) or _works(e.b))]
        if kind.id == "pipe_telecom":
            return [e for e in edges if not (_works(e.a) or _works(e.b)) and e.road_class != "支路"]
        return edges

    def point(self, kind: Kind, node: Node) -> tuple[float, float]:
        """Where the kind passes a street crossing."""
        return node_map(node, kind.offset_m, kind.offset_m)

    def _pressure(self, kind: Kind) -> list[Pipe]:
        pipes = []
        for number, edge in enumerate(self.streets(kind), 1):
            ends = [self._end(kind, node) for node in (edge.a, edge.b)]
            dn, pressure, voltage = self._size(kind, edge)
            monitored = bool(self.rng.random() < 0.8)
            pipes.append(
                Pipe(
                    f"{kind.letters}{number:04d}",
                    kind,
                    node_name(kind, edge.a),
                    node_name(kind, edge.b),
                    (ends[0], ends[1]),
                    dn,
                    int(self.rng.integers(1995, 2025)),
                    pressure,
                    voltage,
                    monitored,
                    "架空" if edge.bridge else "",
                )
            )
        return pipes

    def _end(self, kind: Kind, node: Node) -> Xyz:
        e, n = self.point(kind, node)
        return round(e, 3), round(n, 3), round(ground(e, n) - kind.depth_m, 3)

    def _size(self, kind: Kind, edge: Edge) -> tuple[int, str, float | None]:
        main = edge.road_class == "主干路"
        match kind.id:
            case "pipe_water":
                return (400 if main else 300 if edge.road_class == "次干路" else 200), "0.4MPa", None
            case "pipe_gas":
                return (200, "中压B", None) if main else (110, "低压", None)
            case "pipe_heat":
                return (250 if edge.along_u else 200), "1.6MPa", None
            case "pipe_power":
                return 175, "", 10.0
            case "pipe_telecom":
                return 160, "", None
            case _:
                return 150, "0.8MPa", None

    def _gravity(self, kind: Kind) -> list[Pipe]:
        """Shortest-path forest to the outlets; each invert is as deep as its inflows and the usual depth demand."""
        edges = self.streets(kind)
        towards = self._forest(edges, self._outlets(kind, edges))
        order = sorted(towards, key=lambda node: -towards[node][1])  # far ends first
        invert: dict[Node, float] = {}
        upstream: dict[Node, int] = {}
        slope = 0.0035 if kind.id == "pipe_sewage" else 0.0032
        for node in order:
            target = towards[node][0]
            own = min(invert.get(node, np.inf), self._start_invert(kind, node))
            invert[node] = own
            upstream[node] = upstream.get(node, 0) + 1
            if target is not None:
                fall = slope if upstream[node] < 3 else slope * 0.4
                invert[target] = min(invert.get(target, np.inf), own - fall * _distance(node, target))
                upstream[target] = upstream.get(target, 0) + upstream[node]
        return self._gravity_pipes(kind, towards, invert, upstream)

    def _gravity_pipes(
        self,
        kind: Kind,
        towards: dict[Node, tuple[Node | None, float]],
        invert: dict[Node, float],
        upstream: dict[Node, int],
    ) -> list[Pipe]:
        sizes = (300, 400, 500) if kind.id == "pipe_sewage" else (400, 600, 800)
        pipes: list[Pipe] = []
        for node in sorted(towards):
            target = towards[node][0]
            if target is None:
                continue
            dn = sizes[0] if upstream[node] < 3 else sizes[1] if upstream[node] < 8 else sizes[2]
            ends = [self._at(kind, p, invert[p]) for p in (node, target)]
            pipes.append(
                Pipe(
                    f"{kind.letters}{len(pipes) + 1:04d}",
                    kind,
                    node_name(kind, node),
                    node_name(kind, target),
                    (ends[0], ends[1]),
                    dn,
                    int(self.rng.integers(1998, 2024)),
                    monitored=bool(self.rng.random() < 0.75),
                )
            )
        return pipes

    def _at(self, kind: Kind, node: Node, z: float) -> Xyz:
        e, n = self.point(kind, node)
        return round(e, 3), round(n, 3), round(z, 3)

    def _start_invert(self, kind: Kind, node: Node) -> float:
        e, n = self.point(kind, node)
        usual = ground(e, n) - kind.depth_m
        if kind.id == "pipe_sewage":  # stay below the storm drain at this crossing
            usual = min(usual, self._rain_inverts.get(node, np.inf) - 0.85)
        return float(usual)

    @cached_property
    def _rain_inverts(self) -> dict[Node, float]:
        found: dict[Node, float] = {}
        for pipe in (
            self._gravity(KINDS["pipe_rain"])
            if "pipe_rain" not in self.__dict__.get("pipes", {})
            else self.pipes["pipe_rain"]
        ):
            for name, xyz in ((pipe.start, pipe.coords[0]), (pipe.end, pipe.coords[-1])):
                node = node_of(name)
                found[node] = min(found.get(node, np.inf), xyz[2])
        return found

    def _outlets(self, kind: Kind, edges: list[Edge]) -> list[Node]:
        nodes = sorted({node for e in edges for node in (e.a, e.b)})
        if kind.id == "pipe_rain":
            return [p for p in nodes if self._near_water(p)]
        return [min(part, key=lambda p: self.plan.nodes[p]) for part in _components(nodes, edges)]

    def _near_water(self, node: Node) -> bool:
        from shapely import Point

        return bool(Point(node_map(node)).distance(self.plan.river) < 95)

    def _forest(self, edges: list[Edge], outlets: list[Node]) -> dict[Node, tuple[Node | None, float]]:
        """Node -> (next node towards its outlet, cost to it; climbing costs).

        Parts without an outlet drain to their lowest node.
        """
        beside: dict[Node, list[Node]] = {}
        for e in edges:
            beside.setdefault(e.a, []).append(e.b)
            beside.setdefault(e.b, []).append(e.a)
        for part in _components(sorted(beside), edges):
            if not any(p in outlets for p in part):
                outlets = [*outlets, min(part, key=lambda p: self.plan.nodes[p])]
        towards: dict[Node, tuple[Node | None, float]] = {}
        todo: list[tuple[float, Node, Node | None]] = [(0.0, p, None) for p in sorted(outlets)]
        while todo:
            cost, node, target = heapq.heappop(todo)
            if node in towards:
                continue
            towards[node] = (target, cost)
            for other in beside[node]:
                if other not in towards:
                    against = max(0.0, self.plan.nodes[node] - self.plan.nodes[other])  # the flow would climb
                    heapq.heappush(todo, (cost + _distance(node, other) + 400.0 * against, other, node))
        return towards


def _works(node: Node) -> bool:
    """In the industrial zone."""
    return node[0] >= 2 and node[1] >= 3


def _distance(a: Node, b: Node) -> float:
    return float(np.hypot((a[0] - b[0]) * site.BLOCK_U_M, (a[1] - b[1]) * site.BLOCK_V_M))


def _components(nodes: list[Node], edges: list[Edge]) -> list[list[Node]]:
    parent = {p: p for p in nodes}

    def root(p: Node) -> Node:
        while parent[p] != p:
            p = parent[p]
        return p

    for e in edges:
        parent[root(e.a)] = root(e.b)
    groups: dict[Node, list[Node]] = {}
    for p in nodes:
        groups.setdefault(root(p), []).append(p)
    return [sorted(g) for g in groups.values()]


def node_name(kind: Kind, node: Node) -> str:
    return f"{kind.letters}-{node[0] + 20:02d}{node[1] + 20:02d}"


def node_of(name: str) -> Node:
    digits = name.split("-")[1]
    return int(digits[:2]) - 20, int(digits[2:]) - 20
