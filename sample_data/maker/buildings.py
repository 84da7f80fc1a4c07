"""Buildings of the town with their permits: footprints by block use, heights, floors, years, and the illegal ones.

A building is drawn first as it was permitted; an illegal one is then changed (or its permit is left out), a near miss
is changed by less than what counts. So the truth lies in the two files' geometry and numbers, nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from shapely import Polygon

from sample_data.maker import shapes, site, terrain
from sample_data.maker.layout import Block, Layout

Random = np.random.Generator

FLOOR_M = {
    "城镇住宅": 3.0,
    "农村住宅": 3.2,
    "商业": 4.2,
    "办公": 3.8,
    "工业": 7.5,
    "教育": 3.9,
    "医疗": 4.0,
    "文化": 5.0,
    "公用设施": 4.5,
}


@dataclass
class Building:
    """One building: `shape`, `height_m` as built; `permit_shape`, `permit_height_m` as permitted (None: no permit)."""

    id: str
    name: str
    use: str
    floors: int
    year: int
    shape: Polygon
    height_m: float
    base_elev_m: float
    block: str
    turn_deg: float
    size: tuple[float, float]
    permit_shape: Polygon | None = None
    permit_height_m: float = 0.0
    roof: str = "flat"
    key_energy: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def gfa_m2(self) -> float:
        """Floor area above ground."""
        return round(float(self.shape.area) * self.floors, 1)


class Builder:
    """Fills blocks with buildings; keeps them apart, inside their block and off the reserved plots."""

    def __init__(self, plan: Layout, rng: Random) -> None:
        self.plan, self.rng = plan, rng
        self.found: list[Building] = []

    def fill(self) -> list[Building]:
        """Build on every block; the largest public and industrial buildings become key energy users."""
        for block in self.plan.blocks:
            self._fill_block(block)
        self._name_key_users()
        return self.found

    def _fill_block(self, block: Block) -> None:
        u0, v0 = block.i * site.BLOCK_U_M, block.j * site.BLOCK_V_M
        make = getattr(self, f"_{block.kind}", None)
        if make is None:
            return
        for du, dv, shape, turn, use, floors, roof, size in make():
            e, n = site.grid_to_map(u0 + site.BLOCK_U_M / 2 + du, v0 + site.BLOCK_V_M / 2 + dv)
            placed = shapes.place(shape, float(e), float(n), turn)
            if block.shape.buffer(-2.0).contains(placed) and not placed.intersects(self.plan.reserved):
                self._add(block, placed, use, floors, roof=roof, turn=turn, size=size)

    def _add(
        self, block: Block, shape: Polygon, use: str, floors: int, *, roof: str, turn: float, size: tuple[float, float]
    ) -> None:
        ring = np.asarray(shape.exterior.coords)
        height = round(floors * FLOOR_M[use] + {"flat": 0.9, "gabled": 1.8, "hipped": 1.8}[roof], 2)
        number = len(self.found) + 1
        self.found.append(
            Building(
                f"B{number:05d}",
                f"{self._place_name(block)}{number}号楼",
                use,
                floors,
                int(self.rng.choice(YEARS, p=YEAR_SHARE)),
                shape,
                height,
                round(float(terrain.ground_elev_m(ring[:, 0], ring[:, 1]).min()), 2),
                block.code,
                turn,
                size,
                shape,
                height,
                roof,
            )
        )

    @staticmethod
    def _place_name(block: Block) -> str:
        first, second = "清云海潮松月星和", "湾溪山桥林港庭苑"
        return (
            first[(block.i + 8) % 8]
            + second[(block.j + 10) % 8]
            + {"village": "村", "industry": "工业园", "commerce": "中心"}.get(block.kind, "社区")
        )

    def _name_key_users(self) -> None:
        big = sorted(
            (b for b in self.found if b.use in {"商业", "办公", "医疗", "工业"}), key=lambda b: (-b.gfa_m2, b.id)
        )
        for b in big[:20]:
            b.key_energy = True

    # Each maker yields (du, dv from the block centre, shape, turn, use, floors, roof, size).
    def _housing(self) -> Any:
        style = self.rng.integers(4)
        if style == 3:  # detached and tower mix
            for du in (-45, -15, 15, 45):
                for dv in (-26, 0, 26):
                    w, d = self.rng.uniform(11, 15), self.rng.uniform(10, 13)
                    roof = "hipped" if self.rng.random() < 0.5 else "gabled"
                    yield du, dv, shapes.rectangle(w, d), 0.0, "城镇住宅", 3, roof, (w, d)
            return
        floors = int(self.rng.choice([6, 7, 11, 18], p=[0.4, 0.2, 0.2, 0.2]))
        for du in (-31, 31):
            for dv in (-30, 0, 30):
                w, d = self.rng.uniform(36, 50), self.rng.uniform(11, 13.5)
                shape = shapes.rectangle(w, d) if self.rng.random() < 0.7 else shapes.u_shape(w, d + 4, 10)
                yield du, dv, shape, 0.0, "城镇住宅", max(3, floors + int(self.rng.integers(-1, 2))), "flat", (w, d)

    def _commerce(self) -> Any:
        kinds = [
            shapes.courtyard(44, 36, 10),
            shapes.l_shape(42, 34, 15),
            shapes.u_shape(44, 34, 12),
            shapes.round_plan(16.0),
            shapes.rectangle(32, 26),
        ]
        for du in (-34, 34):
            for dv in (-22, 22):
                shape = kinds[int(self.rng.integers(len(kinds)))]
                shape = shape if shape.bounds[3] < 18 else shapes.rectangle(34, 28)
                floors = int(self.rng.choice([4, 6, 9, 16, 22]))
                turn = float(self.rng.choice([0.0, 0.0, 4.0, -3.0]))
                yield du, dv, shape, turn, ("办公" if floors > 8 else "商业"), floors, "flat", (0, 0)

    def _industry(self) -> Any:
        for du in (-31, 31):
            for dv in (-21, 21):
                w, d = self.rng.uniform(40, 52), self.rng.uniform(26, 34)
                gabled = self.rng.random() < 0.4
                shape = shapes.rectangle(w, d) if gabled or self.rng.random() < 0.7 else shapes.l_shape(w, d, 14)
                yield (
                    du,
                    dv,
                    shape,
                    0.0,
                    "工业",
                    int(self.rng.choice([1, 1, 2])),
                    "gabled" if gabled else "flat",
                    (w, d),
                )

    def _village(self) -> Any:
        for du in range(-52, 60, 20):
            for dv in range(-33, 40, 17):
                if self.rng.random() < 0.88:
                    w, d = self.rng.uniform(9, 13), self.rng.uniform(8, 11)
                    roof = str(self.rng.choice(["gabled", "gabled", "hipped", "flat"]))
                    turn = float(self.rng.uniform(-6, 6))
                    yield (
                        du + self.rng.uniform(-2, 2),
                        dv,
                        shapes.rectangle(w, d),
                        turn,
                        "农村住宅",
                        int(self.rng.integers(2, 5)),
                        roof,
                        (w, d),
                    )

    def _public(self) -> Any:
        yield 34, 20, shapes.u_shape(46, 32, 11), 0.0, "教育", 4, "flat", (0, 0)
        yield 34, -24, shapes.rectangle(40, 16), 0.0, "教育", 5, "flat", (0, 0)
        yield -38, 24, shapes.round_plan(14.0), 0.0, "文化", 2, "flat", (0, 0)

    def _office(self) -> Any:
        yield 36, 18, shapes.l_shape(40, 34, 14), 0.0, "办公", 12, "flat", (0, 0)
        yield -30, 26, shapes.rectangle(36, 18), 0.0, "办公", 8, "flat", (0, 0)

    def _hospital(self) -> Any:
        yield -26, 8, shapes.courtyard(60, 48, 14), 0.0, "医疗", 9, "flat", (0, 0)
        yield 36, 16, shapes.rectangle(36, 18), 0.0, "医疗", 5, "flat", (0, 0)
        yield 36, -22, shapes.rectangle(40, 14), 0.0, "医疗", 3, "flat", (0, 0)

    def _pit(self) -> Any:
        yield 44, 24, shapes.rectangle(34, 16), 0.0, "商业", 6, "flat", (0, 0)

    def _park(self) -> Any:
        yield -20, 10, shapes.rectangle(14, 10), 15.0, "公用设施", 1, "hipped", (14, 10)

    def _plaza(self) -> Any:
        yield -30, -20, shapes.round_plan(10.0), 0.0, "文化", 2, "flat", (0, 0)

    def _field(self) -> Any:
        if self.rng.random() < 0.5:
            yield -20, 0, shapes.rectangle(16, 8), 8.0, "农村住宅", 1, "gabled", (16, 8)


YEARS = np.arange(1984, 2027)
YEAR_SHARE = np.where(YEARS < 2000, 1.0, np.where(YEARS < 2022, 2.0, 1.2))
YEAR_SHARE = YEAR_SHARE / YEAR_SHARE.sum()
