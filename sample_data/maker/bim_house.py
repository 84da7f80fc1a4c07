"""A rectangular house of several storeys, element by element: the common body of the office and the school."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sample_data.maker.bim_author import Author, Box

WALL_M, SLAB_M, INNER_M = 0.24, 0.15, 0.12


@dataclass(frozen=True)
class House:
    """Sizes in metres; the corner (x, y) is the outer corner of the walls in the frame of the building."""

    x: float
    y: float
    width: float
    depth: float
    storey_height: float
    n_storeys: int
    n_bays: int
    wall_class: str
    wall_colour: str
    room: str


def build(author: Author, building: Any, house: House) -> list[Any]:
    """Storeys with walls, openings, windows, doors, slabs, columns, stairs and spaces; returns the storeys."""
    storeys = []
    for level in range(house.n_storeys):
        elevation = level * house.storey_height
        place = author.place((0, 0, elevation), building)
        storey = author.root("IfcBuildingStorey", f"{level + 1}F", ObjectPlacement=place, CompositionType="ELEMENT")
        storey.Elevation = author.length(elevation)
        storeys.append(storey)
        author.aggregate(building, storey)
        walls = _walls(author, storey, house, level)
        slab = _slab(author, storey, house, level)
        columns = _columns(author, storey, house, level)
        spaces = _spaces(author, storey, house, level)
        author.contain(storey, *walls, slab, *columns)
        author.properties("Pset_WallCommon", walls, IsExternal=True, LoadBearing=True, FireRating="2.0h")
        author.properties("Pset_SlabCommon", [slab], LoadBearing=True)
        author.properties("Pset_SpaceCommon", spaces, PubliclyAccessible=False, Category=house.room)
        if level + 1 < house.n_storeys:
            author.contain(storey, _stair(author, storey, house, level))
    return storeys


def _walls(author: Author, storey: Any, house: House, level: int) -> list[Any]:
    h = house.storey_height - SLAB_M
    boxes: dict[str, Box] = {
        "南": (house.x, house.y, 0, house.width, WALL_M, h),
        "北": (house.x, house.y + house.depth - WALL_M, 0, house.width, WALL_M, h),
        "西": (house.x, house.y + WALL_M, 0, WALL_M, house.depth - 2 * WALL_M, h),
        "东": (house.x + house.width - WALL_M, house.y + WALL_M, 0, WALL_M, house.depth - 2 * WALL_M, h),
    }
    walls = {}
    for side, box in boxes.items():
        body = (author.box(box), house.wall_colour)
        walls[side] = author.product(
            house.wall_class, f"外墙-{level + 1}F-{side}", storey, body, Tag=f"W{level + 1}{side}"
        )
    bay = house.width / house.n_bays
    for i in range(house.n_bays):
        for side in ("南", "北"):
            middle = house.x + (i + 0.5) * bay
            y = boxes[side][1]
            if level == 0 and side == "南" and i == house.n_bays // 2:
                _door(author, storey, walls[side], f"{level + 1}F-{side}-{i + 1}", (middle, y))
            else:
                _window(author, storey, walls[side], f"{level + 1}F-{side}-{i + 1}", (middle, y))
    return list(walls.values())


def _window(author: Author, storey: Any, wall: Any, label: str, corner: tuple[float, float]) -> None:
    x, y = corner
    w, h, sill, frame = 1.8, 1.6, 0.9, 0.06
    left, depth = x - w / 2, y + WALL_M / 2 - frame / 2
    opening = author.opening(f"窗洞-{label}", storey, (left, y - 0.05, sill, w, WALL_M + 0.1, h))
    bars: list[Box] = [
        (left, depth, sill, w, frame, frame),
        (left, depth, sill + h - frame, w, frame, frame),
        (left, depth, sill + frame, frame, frame, h - 2 * frame),
        (left + w - frame, depth, sill + frame, frame, frame, h - 2 * frame),
    ]
    pane: Box = (left + frame, y + WALL_M / 2 - 0.006, sill + frame, w - 2 * frame, 0.012, h - 2 * frame)
    items = [(author.box(bar), "frame") for bar in bars] + [(author.box(pane), "glass")]
    size = {"OverallHeight": author.length(h), "OverallWidth": author.length(w)}
    window = author.product("IfcWindow", f"窗-{label}", storey, *items, **size)
    author.void(wall, opening, window)
    author.contain(storey, window)


def _door(author: Author, storey: Any, wall: Any, label: str, corner: tuple[float, float]) -> None:
    x, y = corner
    w, h = 1.6, 2.4
    opening = author.opening(f"门洞-{label}", storey, (x - w / 2, y - 0.05, 0, w, WALL_M + 0.1, h))
    leaf = author.box((x - w / 2, y + 0.08, 0, w, 0.06, h))
    size = {"OverallHeight": author.length(h), "OverallWidth": author.length(w)}
    door = author.product("IfcDoor", f"门-{label}", storey, (leaf, "wood"), **size)
    author.void(wall, opening, door)
    author.contain(storey, door)


def _slab(author: Author, storey: Any, house: House, level: int) -> Any:
    box = author.box((house.x, house.y, -SLAB_M, house.width, house.depth, SLAB_M))
    kind = "BASESLAB" if level == 0 else "FLOOR"
    slab = author.product("IfcSlab", f"楼板-{level + 1}F", storey, (box, "concrete"), PredefinedType=kind)
    if level > 0:
        x, y = _stair_corner(house)
        hole: Box = (x, y, -SLAB_M - 0.05, 2.6, 4.4, SLAB_M + 0.1)
        author.void(slab, author.opening(f"楼梯洞-{level + 1}F", storey, hole))
    return slab


def _columns(author: Author, storey: Any, house: House, level: int) -> list[Any]:
    h, bay, y = house.storey_height - SLAB_M, house.width / house.n_bays, house.y + house.depth / 2
    made = []
    for i in range(1, house.n_bays):
        solid = author.cylinder(house.x + i * bay, y, 0, 0.25, h)
        made.append(author.product("IfcColumn", f"柱-{level + 1}F-{i}", storey, (solid, "concrete"), Tag=f"C{i}"))
    author.typed("IfcColumnType", f"圆柱 D500 {level + 1}F", made, PredefinedType="COLUMN")
    return made


def _spaces(author: Author, storey: Any, house: House, level: int) -> list[Any]:
    h, made = house.storey_height - SLAB_M, []
    for i, side in enumerate(("西", "东")):
        half = house.width / 2 - WALL_M
        x = house.x + WALL_M + i * half
        solid = author.box((x, house.y + WALL_M, 0, half, house.depth - 2 * WALL_M, h))
        space = author.product("IfcSpace", f"{level + 1}0{i + 1}", storey, (solid, "plaster"))
        space.LongName, space.CompositionType = f"{house.room}{side}", "ELEMENT"
        if author.schema == "IFC2X3":
            space.InteriorOrExteriorSpace = "INTERNAL"
        author.aggregate(storey, space)
        made.append(space)
    return made


def _stair_corner(house: House) -> tuple[float, float]:
    return house.x + house.width - WALL_M - 3.2, house.y + WALL_M + 0.6


def _stair(author: Author, storey: Any, house: House, level: int) -> Any:
    """Two flights and a landing; the assembly itself has no shape."""
    x, y = _stair_corner(house)
    stair = author.product("IfcStair", f"楼梯-{level + 1}F", storey)
    kind = "ShapeType" if author.schema == "IFC2X3" else "PredefinedType"
    setattr(stair, kind, "HALF_TURN_STAIR")
    n, run = 9, 0.28
    rise = house.storey_height / (2 * n + 2)
    length, half = n * run, (n + 1) * rise
    up = [(0.0, 0.0)]
    for k in range(n):
        up += [(k * run, (k + 1) * rise), ((k + 1) * run, (k + 1) * rise)]
    outline = [*up, (length, n * rise - 0.25), (run, 0.0)]
    lower = author.prism(outline, (x, y, 0), 1.2)
    # the upper flight runs back: the same profile mirrored in y
    back = [(length - u, v) for u, v in reversed(outline)]
    upper = author.prism(back, (x + 1.4, y, half), 1.2)
    landing = author.box((x, y + length, half - 0.15, 2.6, 1.2, 0.15))
    flights = [
        author.product("IfcStairFlight", f"梯段-{level + 1}F-下", storey, (lower, "concrete")),
        author.product("IfcStairFlight", f"梯段-{level + 1}F-上", storey, (upper, "concrete")),
    ]
    plate = author.product("IfcSlab", f"平台-{level + 1}F", storey, (landing, "concrete"), PredefinedType="LANDING")
    author.aggregate(stair, *flights, plate)
    return stair
