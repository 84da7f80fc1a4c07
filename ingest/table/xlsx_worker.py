"""The process that reads one workbook with calamine: each sheet's rows go to a file of JSON lines.

`python -m ingest.table.xlsx_worker FILE FOLDER`. The library holds a sheet whole, and a damaged file may make it panic
or ask for all memory there is: it costs this process alone. FOLDER gets `sheets.json` and `0.jsonl`, `1.jsonl` … with
`[row number, cells …]` for every row that is not blank; dates are `{"d": …}`, times `{"t": …}`.
"""

import datetime as dt
import json
import resource
import sys
from pathlib import Path
from typing import Any

MEMORY_BYTES = 3_000_000_000
CPU_S = 300
FILE_BYTES = 4_000_000_000
MAX_SHEETS = 1000
MAX_MERGED = 200_000


def main(path: str, folder: str) -> None:
    """Write all sheets. What is wrong with the file goes to `refused.json`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import python_calamine

    out = Path(folder)
    try:
        with python_calamine.load_workbook(path) as book:
            said = [_sheet(book, number, out) for number in range(min(len(book.sheet_names), MAX_SHEETS))]
    except (python_calamine.CalamineError, OSError, ValueError, MemoryError) as error:
        (out / "refused.json").write_text(json.dumps(str(error) or type(error).__name__), "utf8")
        return
    (out / "sheets.json").write_text(json.dumps(said), "utf8")


def _sheet(book: Any, number: int, out: Path) -> dict[str, Any]:
    about = book.sheets_metadata[number]
    kind = str(about.typ).rpartition(".")[2]
    facts = {"name": about.name, "kind": kind, "is_hidden": not str(about.visible).endswith(".Visible"), "merged": []}
    if kind != "WorkSheet":
        return facts
    sheet = book.get_sheet_by_index(number)
    n_rows = 0
    with (out / f"{number}.jsonl").open("w", encoding="utf8", errors="backslashreplace") as file:
        for row, cells in enumerate(sheet.iter_rows(), 1):
            plain = [_plain(cell) for cell in cells]
            while plain and plain[-1] is None:
                plain.pop()
            if plain:
                n_rows += 1
                file.write(json.dumps([row, *plain], ensure_ascii=False) + "\n")
    merged = [[*start, *end] for start, end in (sheet.merged_cell_ranges or [])[:MAX_MERGED]]
    return {**facts, "merged": merged, "rows": n_rows}


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell if cell.strip() else None
    if isinstance(cell, dt.datetime):
        return {"d" if cell.time() == dt.time.min else "t": cell.isoformat()}
    if isinstance(cell, dt.date):
        return {"d": cell.isoformat()}
    return cell if isinstance(cell, bool | int | float) else str(cell)


if __name__ == "__main__":
    main(*sys.argv[1:3])
