"""Text tables: cases 8 and 9, and the address of a table without CRS."""

from pathlib import Path

from broken.case import EAST, NORTH, Case

PLACED = '[[source]]\npath = "*.csv"\ncrs = "EPSG:4549"\n'


def chinese(folder: Path) -> None:
    rows = [f"甲,{EAST},{NORTH},３００,开", f"乙,{EAST + 9},{NORTH},—,/", f'丙,{EAST + 18},{NORTH},"1,200",关']
    (folder / "valve.csv").write_text("编号,x,y,口径,状态\n" + "\n".join(rows) + "\n", "utf-8-sig")


def units(folder: Path) -> None:
    rows = ["P1,DN300,1.5米", "P2,300mm,150cm", "P3,三百,深", "P4,12in,2"]
    lines = [f"{row},{EAST + 10 * i},{NORTH}" for i, row in enumerate(rows)]
    (folder / "valve.csv").write_text("编号,口径,设备高程,x,y\n" + "\n".join(lines) + "\n", "utf8")


CASES = (
    Case(8, "08_chinese_csv", chinese, ("VALUE_NORMALISED",), 3, 3, PLACED),
    Case(9, "09_units_in_text", units, ("VALUE_NOT_UNDERSTOOD",), 4, 4, PLACED),
)
