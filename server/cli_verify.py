"""`citytwin verify`: tiles read back by a reader of their own, from a folder, a file or a running server."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tiles.verify.findings import Progress, Report

MAX_TILES = 100_000
_ORDER = {"error": 0, "warning": 1, "info": 2}


def verify(
    target: Annotated[str, typer.Argument(help="Folder, tileset.json, layer.json, TileJSON, tile, or http address.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
    limit: Annotated[int, typer.Option(help="Tiles that are looked at.")] = MAX_TILES,
) -> None:
    """Read tiles back and report what is wrong: 3D Tiles, glTF, terrain, vector tiles. Exit 1 if anything is."""
    from tiles.verify import verify as check

    with _progress(limit) as advance:
        report = check(target, limit=limit, progress=advance)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
    else:
        _show(report)
    raise typer.Exit(0 if report.is_clean else 1)


def _show(report: "Report") -> None:
    """Findings of the gravest rules first, then what was read."""
    issues = sorted(report.issues, key=lambda issue: (_ORDER[issue.severity], issue.code))
    width = max((len(issue.code) for issue in issues), default=0)
    for issue in issues:
        typer.echo(f"{issue.severity:7}  {issue.code:{width}}  {_short(issue.where, report.target)}: {issue.message}")
    listed = len(issues)
    total = sum(report.counts.values())
    if total > listed:
        typer.echo(f"... and {total - listed:,} more; --json has the counts of each rule.")
    read = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.checked.items())) or "nothing"
    typer.echo(f"Read {read}{'' if report.is_complete else ' (not everything)'}: {_verdict(report)}.")


def _verdict(report: "Report") -> str:
    from tiles.verify.rules import RULES

    sums = dict.fromkeys(_ORDER, 0)
    for code, count in report.counts.items():
        sums[RULES[code].severity] += count
    said = [
        f"{n:,} {name}{'s' if n != 1 and name != 'info' else ''}" for name, n in sums.items() if n or name == "error"
    ]
    return ", ".join(said)


def _short(where: str, target: str) -> str:
    """The place without the folder that was given."""
    from pathlib import Path

    root = str(Path(target).resolve()) if "://" not in target else target
    return where.removeprefix(root).lstrip("/") or where


@contextmanager
def _progress(limit: int) -> Iterator["Progress | None"]:
    """A bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("Looking", total=limit)

        def advance(where: str) -> None:
            bars.update(task, advance=1, description=where[-60:])

        yield advance
