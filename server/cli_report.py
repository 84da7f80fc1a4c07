"""`citytwin report`: the report of supervision as files."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from layers.errors import InvalidInput
from server.cli_show import TwinDir

LANGUAGES = ("zh", "en")


def report(
    twin_dir: TwinDir,
    supervisions: Annotated[
        list[str] | None, typer.Argument(help="construction, water, one-map; all without it.")
    ] = None,
    *,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write it as HTML.")] = None,
    pdf_file: Annotated[Path | None, typer.Option("--pdf", help="Write it as PDF.")] = None,
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    site: Annotated[str | None, typer.Option(help="Id of a construction site, or layer/id of a feature.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north, in --crs.")] = None,
    crs: Annotated[str | None, typer.Option(help="Of the box; CRS84 when absent, `city` for the city's.")] = None,
    moment: Annotated[str | None, typer.Option("--datetime", help="State of the city at that moment.")] = None,
    kept: Annotated[bool, typer.Option(help="Of the findings that are kept, instead of a run now.")] = False,
    most: Annotated[int, typer.Option(min=1, max=5000, help="Findings listed of each supervision.")] = 500,
) -> None:
    """Write a report of supervision: verdicts, findings, maps, indicators."""
    import twin
    from server.cli_progress import percent
    from server.report import drawer
    from twin.analysis.report import SUPERVISIONS, made
    from twin.supervision.report import Language, html, pdf

    if html_file is None and pdf_file is None:
        raise InvalidInput("There is nothing to write.", "Give --html FILE or --pdf FILE.")
    if language not in LANGUAGES:
        raise InvalidInput(f"--language {language!r} is not zh or en.")
    for name in supervisions or ():
        if name not in SUPERVISIONS:
            raise InvalidInput(f"There is no supervision {name!r}.", f"Known: {', '.join(SUPERVISIONS)}.")
    place: dict[str, Any] = {
        "site": site, "bbox": None if bbox is None else _numbers(bbox), "crs": crs, "datetime": moment, "kept": kept,
    }  # fmt: skip
    with twin.open(twin_dir) as city, percent("report") as progress:
        found = made(city, supervisions, place, (cast("Language", language), drawer(city), most), progress)
    if html_file is not None:
        html_file.write_text(html(found), "utf8")
    if pdf_file is not None:
        pdf_file.write_bytes(pdf(found))
    for section in found.sections:
        typer.echo(f"{section.title}: " + ", ".join(f"{n:,} {name}" for name, n in section.counts.items()))


def _numbers(text: str) -> list[float]:
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise InvalidInput(f"--bbox {text!r} is not four numbers.", "Write west,south,east,north.")
    return found
