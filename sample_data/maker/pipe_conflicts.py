"""Planted pipe conflicts: short extra pipes beside or across a sewer, and drains with too little cover or slope.

Each failing case stands next to a near miss. The clearances are net, outer wall to outer wall, set by construction;
`expected.json` repeats them measured with shapely on the coordinates as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sample_data.maker.layout import ground
from sample_data.maker.pipes import KINDS, Pipe, Xyz
from sample_data.maker.site import GRID_ROTATION_DEG


@dataclass(frozen=True)
class Case:
    """`kind` with `dn_mm` at `net_m` from a sewer (limit `limit_m`); `plan` is beside, across, cover or slope."""

    plan: str
    kind: str
    dn_mm: int
    net_m: float
    limit_m: float
    pressure: str = ""
    source: str = "GB 50289-2016 4.1.9"

    @property
    def fails(self) -> bool:
        """True for a planted fault, False for a near miss."""
        return self.net_m < self.limit_m


CASES = [
    Case("beside", "pipe_water", 300, 1.35, 1.5),
    Case("beside", "pipe_water", 300, 1.55, 1.5),
    Case("beside", "pipe_water", 150, 0.90, 1.0),
    Case("beside", "pipe_water", 150, 1.10, 1.0),
    Case("beside", "pipe_gas", 110, 1.10, 1.2, "中压B"),
    Case("beside", "pipe_gas", 110, 1.08, 1.0, "低压"),
    Case("beside", "pipe_telecom", 160, 0.80, 1.0),
    Case("beside", "pipe_telecom", 160, 1.05, 1.0),
    Case("beside", "pipe_power", 175, 0.42, 0.5),
    Case("beside", "pipe_power", 175, 0.55, 0.5),
    Case("across", "pipe_water", 150, 0.30, 0.40, source="GB 50289-2016 4.1.14"),
    Case("across", "pipe_water", 150, 0.45, 0.40, source="GB 50289-2016 4.1.14"),
    Case("across", "pipe_gas", 110, 0.10, 0.15, "低压", "GB 50289-2016 4.1.14"),
    Case("across", "pipe_gas", 110, 0.20, 0.15, "低压", "GB 50289-2016 4.1.14"),
    Case("across", "pipe_gas", 160, -0.06, 0.15, "低压", "GB 50289-2016 4.1.14"),
    Case("cover", "pipe_rain", 400, 0.60, 0.70, source="GB 50014-2021 5.3.7"),
    Case("cover", "pipe_rain", 400, 0.78, 0.70, source="GB 50014-2021 5.3.7"),
    Case("slope", "pipe_sewage", 300, 0.0012, 0.002, source="GB 50014-2021"),
    Case("slope", "pipe_sewage", 300, 0.0021, 0.002, source="GB 50014-2021"),
]


def plant(pipes: dict[str, list[Pipe]]) -> tuple[list[Pipe], list[dict[str, Any]]]:
    """Return the extra pipes and one truth row a case. Each stands beside its own sewer, away from street crossings."""
    hosts = [p for p in pipes["pipe_sewage"] if p.length_m > 100 and p.dn_mm == 300 and abs(_fall(p)) < 0.02]
    step = max(1, len(hosts) // len(CASES))
    numbers = dict.fromkeys(KINDS, 900)
    extra, truths = [], []
    for case, host in zip(CASES, hosts[::step], strict=False):
        numbers[case.kind] += 1
        name = f"{KINDS[case.kind].letters}{numbers[case.kind]:04d}"
        pipe = Pipe(
            name,
            KINDS[case.kind],
            f"{name}-1",
            f"{name}-2",
            _place(case, host),
            case.dn_mm,
            2024,
            case.pressure or ("0.4MPa" if case.kind == "pipe_water" else ""),
            10.0 if case.kind == "pipe_power" else None,
            material="混凝土" if case.plan == "cover" else "",
        )
        extra.append(pipe)
        truths.append(
            {
                "case": case.plan,
                "pipe_id": name,
                "layer": case.kind,
                "other_id": host.id if case.plan in {"beside", "across"} else None,
                "other_layer": "pipe_sewage" if case.plan in {"beside", "across"} else None,
                "measured": case.net_m,
                "limit": case.limit_m,
                "unit": "1" if case.plan == "slope" else "m",
                "fails": case.fails,
                "rule": case.source,
            }
        )
    if len(extra) < len(CASES):
        raise ValueError(f"Only {len(extra)} sewers are fit to carry the {len(CASES)} cases.")
    return extra, truths


def _fall(p: Pipe) -> float:
    return (p.coords[0][2] - p.coords[-1][2]) / p.length_m


def _place(case: Case, host: Pipe) -> tuple[Xyz, Xyz]:
    a, b = (np.array(c) for c in host.coords)
    axis = (b - a)[:2] / np.hypot(*(b - a)[:2])
    # the free side of the sewer: towards the storm drain for water, towards the gas main for the rest (see pipes.KINDS)
    left = np.array([-axis[1], axis[0]])
    side = _rain_side(axis) * left
    od, host_od = _od(case), host.od_mm / 1000
    mid = (a + b) / 2
    if case.plan == "across":
        top_of_host = (
            mid[2] + host.dn_mm / 2000 + host_od / 2
        )  # the invert is the inner bottom; bore = nominal diameter
        crown = top_of_host + case.net_m + od
        return _xyz(mid[:2] - 1.2 * side, crown), _xyz(mid[:2] + 1.2 * side, crown)
    if case.plan == "beside":
        away = host_od / 2 + case.net_m + od / 2
        offset = away * side * (1 if case.kind == "pipe_water" else -1)
        ends = [mid[:2] + s * 10 * axis + offset for s in (-1, 1)]
        z = [ground(*p) - KINDS[case.kind].depth_m for p in ends]
        return _xyz(ends[0], z[0]), _xyz(ends[1], z[1])
    ends = [mid[:2] + s * 12 * axis + 2.0 * side for s in (-1, 1)]
    if case.plan == "cover":
        fall = 0.004 * 24
        shallowest = min(ground(*(ends[0] + t * (ends[1] - ends[0]))) + t * fall for t in np.linspace(0, 1, 49))
        start = shallowest - case.net_m - od / 2 - case.dn_mm / 2000
        return _xyz(ends[0], start), _xyz(ends[1], start - fall)
    upper = ground(*ends[0]) - 1.6
    return _xyz(ends[0], upper), _xyz(ends[1], upper - case.net_m * 24)


def _od(case: Case) -> float:
    from sample_data.maker.pipes import OUTER_MM

    return OUTER_MM[case.kind][case.dn_mm] / 1000


def _rain_side(axis: np.ndarray) -> float:
    """+1 where left of the axis is the direction in which street offsets grow."""
    angle = np.radians(GRID_ROTATION_DEG)
    u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    left = np.array([-axis[1], axis[0]])
    return 1.0 if left @ (v if abs(axis @ u) > 0.5 else u) > 0 else -1.0


def _xyz(en: np.ndarray, z: float) -> Xyz:
    return round(float(en[0]), 3), round(float(en[1]), 3), round(float(z), 3)
