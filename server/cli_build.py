"""`citytwin build`, `add` and `check`: files in, a summary on stdout."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from layers.errors import InvalidInput
from layers.issue import Issue
from layers.report import Report

MOST_REJECTS = 5
"""Rejected features named on the screen for each source; all of them are in its report."""

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="A line for each source, and tracebacks of readers.")]
Layer = Annotated[str | None, typer.Option(help="Catalogue id of the layer, instead of detection.")]
Crs = Annotated[str | None, typer.Option(help="CRS of a file that names none, such as EPSG:4549.")]
VerticalCrs = Annotated[str | None, typer.Option(help="Height datum of a file that names none.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of text that states none.")]
Columns = Annotated[str | None, typer.Option(help="Attribute=column pairs: height_m=JZGD,floors=CS")]
Units = Annotated[str | None, typer.Option(help="Attribute=unit pairs: dn_mm=m")]
Values = Annotated[str | None, typer.Option(help="Attribute=value pairs for all features: z_ref=crown")]
IdColumn = Annotated[str | None, typer.Option(help="Column that holds the public id.")]
Correct = Annotated[
    str | None, typer.Option(help="Repairs of coordinates: swap-axes, zone-prefix, gcj02 or bd09; several with commas.")
]
VerticalOffset = Annotated[
    float | None, typer.Option("--vertical-offset-m", help="Metres added to the heights to reach the city's datum.")
]
Epoch = Annotated[str | None, typer.Option(help="ISO date of the survey.")]


def build(
    source_dir: Annotated[Path, typer.Argument(help="Folder with the files, and optionally city.toml.")],
    twin_dir: Annotated[Path, typer.Argument(help="Folder of the twin; made if there is none.")],
    *,
    verbose: Verbose = False,
) -> None:
    """Build the twin of a folder; run again, it reads only what changed."""
    from server import build as builder
    from server.cli_progress import progress

    with progress(verbose=verbose) as told:
        result = builder.build(source_dir, twin_dir, told)
    _summary(result.reports, result.issues, twin_dir)
    if result.unchanged:
        _say(f"unchanged: {len(result.unchanged)} sources")
    for name, closed in result.removed.items():
        _say(f"removed   {name}: {sum(closed.values())} features closed")
    for report in result.standing:
        if report["status"] in {"parked", "partly"}:
            _standing(report)
    _say(f"{twin_dir}: {total(result.reports, result.standing)} in {result.seconds:.1f} s")
    raise typer.Exit(result.exit_code)


def add(
    twin_dir: Annotated[Path, typer.Argument(help="Folder of the twin.")],
    files: Annotated[list[Path], typer.Argument(help="Files to read.")],
    *,
    layer: Layer = None,
    crs: Crs = None,
    vertical_crs: VerticalCrs = None,
    encoding: Encoding = None,
    columns: Columns = None,
    units: Units = None,
    values: Values = None,
    id_column: IdColumn = None,
    epoch: Epoch = None,
    correct: Correct = None,
    vertical_offset_m: VerticalOffset = None,
    verbose: Verbose = False,
) -> None:
    """Read more files into a twin; a server that runs shows them at once."""
    import twin
    from server import build as builder
    from server.cli_progress import progress

    hints = _hints(
        layer=layer, crs=crs, vertical_crs=vertical_crs, encoding=encoding, columns=_pairs(columns, "--columns"),
        units=_pairs(units, "--units"), values=_values(values), id_column=id_column, epoch=epoch,
        correct=_names(correct), vertical_offset_m=vertical_offset_m,
    )  # fmt: skip
    with twin.open(twin_dir) as city, progress(verbose=verbose) as told:
        result = builder.add_sources(city, files, hints, told)
    _summary(result.reports, result.issues, twin_dir)
    if result.unchanged:
        _say(f"unchanged: {len(result.unchanged)} sources")
    raise typer.Exit(result.exit_code)


def check(
    files: Annotated[list[Path], typer.Argument(help="Files to read.")],
    *,
    layer: Layer = None,
    crs: Crs = None,
    vertical_crs: VerticalCrs = None,
    encoding: Encoding = None,
    columns: Columns = None,
    correct: Correct = None,
) -> None:
    """Read files from beginning to end and say what is wrong with them; nothing is stored."""
    from server import build as builder

    hints = _hints(
        layer=layer, crs=crs, vertical_crs=vertical_crs, encoding=encoding, columns=_pairs(columns, "--columns"),
        correct=_names(correct),
    )  # fmt: skip
    reports = builder.check(files, hints)
    _summary(reports, [], None)
    raise typer.Exit(int(any(report.status in {"parked", "partly"} for report in reports)))


def _hints(**given: Any) -> dict[str, Any]:
    from ingest.source_keys import checked

    return checked({key: value for key, value in given.items() if value is not None})


def _names(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(text: str | None, option: str) -> dict[str, str] | None:
    """`A=B,C=D` as a dict."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not key.strip() or not mark or not value.strip() for key, mark, value in pairs):
        raise InvalidInput(f"{option} {text!r} is not understood.", "Write NAME=VALUE,NAME=VALUE.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _values(text: str | None) -> dict[str, Any] | None:
    pairs = _pairs(text, "--values")
    return None if pairs is None else {key: json_or_text(value) for key, value in pairs.items()}


def json_or_text(text: str) -> Any:
    """A value of the command line: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _say(line: str) -> None:
    typer.echo(line)


def _summary(reports: Sequence[Report], issues: Iterable[Issue], twin_dir: Path | None) -> None:
    """A line for each source that was read; below it what is wrong, with place and next step."""
    for issue in issues:
        _say(f"{issue.severity:8} {issue.code} {issue.where}: {issue.message} {issue.hint}".rstrip())
    if reports:
        _say(f"{'status':8} {'read':>9} {'stored':>9} {'rejected':>9} {'s':>7}  source -> layers")
    for report in reports:
        n = [sum(getattr(count, f"n_{what}") for count in report.layers) for what in ("read", "stored", "rejected")]
        names = ", ".join(dict.fromkeys(count.layer for count in report.layers))
        _say(
            f"{report.status:8} {n[0]:9,} {n[1]:9,} {n[2]:9,} {report.seconds:7.2f}  {report.source} -> {names or '-'}"
        )
        _troubles(report, twin_dir)


def _troubles(report: Report, twin_dir: Path | None) -> None:
    for issue in report.issues:
        if issue.severity == "error":
            _say(f"    {issue.code} at {issue.where}: {issue.message} {issue.hint}".rstrip())
    counted = Counter(issue.code for issue in report.issues if issue.severity == "warning")
    for code, n in counted.items():
        first = next(issue for issue in report.issues if issue.code == code)
        more = f" (and {n - 1} more)" if n > 1 else ""
        _say(f"    {code} at {first.where}: {first.message} {first.hint}".rstrip() + more)
    for reject in report.rejects[:MOST_REJECTS]:
        _say(f"    rejected: {reject.code} at {reject.where}: {reject.message}")
    n_rejected = sum(count.n_rejected for count in report.layers)
    if n_rejected > MOST_REJECTS:
        _say(f"    … and {n_rejected - MOST_REJECTS} more rejected features{_where(report.source, twin_dir)}")


def _where(source: str, twin_dir: Path | None) -> str:
    from server.build_folder import slug

    return "" if twin_dir is None else f": see {twin_dir / 'reports' / slug(source)}.json"


def _standing(report: dict[str, Any]) -> None:
    """A source that is unchanged and still not (wholly) stored: said again, so that it is not forgotten."""
    _say(f"{report['status']:8} {report['source']} (unchanged)")
    for issue in report["issues"]:
        if issue["severity"] == "error":
            _say(f"    {issue['code']} at {issue['where']}: {issue['message']} {issue['hint']}".rstrip())
    if report["rejects"]:
        first = report["rejects"][0]
        _say(f"    {len(report['rejects'])} rejected, first: {first['code']} at {first['where']}: {first['message']}")


def total(reports: Sequence[Report], standing: Sequence[dict[str, Any]]) -> str:
    """One line: features, layers, sources, and how many of them are not wholly stored."""
    rows = [vars(count) for report in reports for count in report.layers]
    rows += [count for report in standing for count in report["layers"]]
    states = Counter([report.status for report in reports] + [report["status"] for report in standing])
    n_layers = len({row["layer"] for row in rows if row["n_stored"]})
    n_bad = states["parked"] + states["partly"]
    told = f"{sum(row['n_stored'] for row in rows):,} features in {n_layers} layers from {sum(states.values())} sources"
    return f"{told}, {n_bad} of them not wholly stored" if n_bad else told
