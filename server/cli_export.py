"""`citytwin export`: the city's tiles as static files, for a web server or a CDN that knows nothing of them."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layers.errors import InvalidInput

if TYPE_CHECKING:
    from server.export_stages import Choice
    from tiles.export.run import Progress, Summary
    from tiles.export.target import Place
    from twin.city import City

MOST_FAILURES = 20
"""Named on the screen."""
PACKINGS = ("gzip", "br", "zstd", "none")

Only = Annotated[
    str | None, typer.Option(metavar="KINDS", help="Of 3dtiles, points, terrain, terrain-rgb, mvt, images; all else.")
]
Layers = Annotated[str | None, typer.Option(metavar="IDS", help="These layers; all without it.")]
Forms = Annotated[str | None, typer.Option(metavar="FORMS", help="Of compact, compat, explicit.")]
Pack = Annotated[
    str | None, typer.Option(help="gzip, br, zstd or none: packed objects (default gzip), packed copies in a folder.")
]
Zoom = Annotated[int, typer.Option(min=0, max=24, help="Of terrain, vector tiles and images.")]
Filter = Annotated[
    list[str] | None, typer.Option("--filter", metavar="LAYER=CQL2", help="Only these features in its 3D Tiles.")
]
Moment = Annotated[str | None, typer.Option("--datetime", help="3D Tiles as they were then.")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where it will stand: makes links absolute.")]


def export(
    twin_dir: Annotated[Path, typer.Argument(help="Folder of the twin.")],
    out: Annotated[str, typer.Argument(help="Folder, or s3://, gs://, az:// URL.")],
    *,
    only: Only = None,
    layers: Layers = None,
    forms: Forms = None,
    pack: Pack = None,
    min_zoom: Zoom = 0,
    max_zoom: Zoom = 24,
    filters: Filter = None,
    moment: Moment = None,
    base_url: BaseUrl = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes; one a processor without it.")] = None,
) -> None:
    """Write tiles and terrain as static files; run again, it writes only what changed."""
    import twin
    from server.export_stages import Plan
    from tiles.export import run

    place = _place(out, pack)
    with twin.open(twin_dir) as city:
        choice = _choice(city, only, layers, forms, min_zoom, max_zoom, filters, moment, base_url)
        with contextlib.closing(Plan(city, choice)) as plan, _progress() as told:
            summary = run.export(
                place, plan.stages, plan.factories(), n_workers=workers or _processors(), progress=told,
                stale=plan.is_stale,
            )  # fmt: skip
    _say(summary, out)
    raise typer.Exit(summary.exit_code)


def _place(out: str, pack: str | None) -> "Place":
    from server import packing
    from tiles.export.target import Packed, Place

    if pack is not None and pack not in PACKINGS:
        raise InvalidInput(f"--pack {pack!r} is not offered.", f"Use {', '.join(PACKINGS)}.")
    chosen: Any = pack or ("none" if Place(out).is_folder else "gzip")
    return Place(out, None if chosen == "none" else Packed(chosen, packing.packed))


def _choice(  # noqa: PLR0917 one for each option
    city: "City",
    only: str | None,
    layers: str | None,
    forms: str | None,
    min_zoom: int,
    max_zoom: int,
    filters: Sequence[str] | None,
    moment: str | None,
    base_url: str | None,
) -> "Choice":
    from server import parameters
    from server.export_stages import KINDS, Choice
    from tiles.tileset import FORMS

    if min_zoom > max_zoom:
        raise InvalidInput(f"--min-zoom {min_zoom} is above --max-zoom {max_zoom}.")
    parameters.moment(moment)
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise InvalidInput(f"--base-url {base_url!r} is no address.", "Example: https://cdn.example/mycity")
    return Choice(
        _among("--only", only, KINDS) or KINDS,
        None if layers is None else tuple(_names(layers)),
        _among("--forms", forms, FORMS) or FORMS,
        min_zoom,
        max_zoom,
        dict(_filter(city, each) for each in filters or ()),
        moment,
        None if base_url is None else base_url.rstrip("/"),
    )


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _among(option: str, text: str | None, known: Sequence[Any]) -> tuple[Any, ...]:
    if text is None:
        return ()
    names = _names(text)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        said = repr(unknown[0]) if unknown else "nothing"
        raise InvalidInput(f"{option} has {said}.", f"Known: {', '.join(known)}.")
    return tuple(each for each in known if each in names)


def _filter(city: "City", text: str) -> tuple[str, dict[str, Any]]:
    """LAYER=CQL2, geometries in degrees (CRS84), as in an address."""
    from server import filters
    from server.serving import Serving
    from server.settings import Settings

    layer_id, mark, expression = text.partition("=")
    if not mark or not expression.strip():
        raise InvalidInput(f"--filter {text!r} is not understood.", "Write LAYER=CQL2, as building=height_m > 30")
    city.store.layer(layer_id.strip(), city.scope)
    snapshot = Serving(city, Settings(scope=city.scope, warm_up=False)).snapshot()
    return layer_id.strip(), filters.parse({"filter": expression.strip()}, snapshot)


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _say(summary: "Summary", out: str) -> None:
    for failure in summary.failures[:MOST_FAILURES]:
        typer.echo(f"failed    {failure.address}: {failure.reason}")
        if failure.trace:
            sys.stderr.write(failure.trace)
    if len(summary.failures) > MOST_FAILURES:
        typer.echo(f"    … and {len(summary.failures) - MOST_FAILURES:,} more")
    for moved in summary.moved:
        typer.echo(f"changed   {moved}")
    rate = f", {summary.n_features:,} features, {summary.n_features / max(summary.seconds, 1e-9):,.0f}/s"
    typer.echo(
        f"{out}: {summary.n_files:,} files, {summary.n_written:,} written ({summary.n_bytes / 1e6:,.1f} MB), "
        f"{summary.n_removed:,} removed in {summary.seconds:.1f} s{rate if summary.n_features else ''}"
    )


@contextlib.contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on a terminal, else nothing."""
    from tiles.export.run import Silent

    if not sys.stderr.isatty():
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[rate]}"),
        TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars)


class _Bar:
    """One bar, a stage at a time."""

    def __init__(self, bars: Any) -> None:
        self._bars, self._task = bars, bars.add_task("Looking", total=None, rate="")
        self._features = self._bytes = 0

    def stage(self, title: str, n_files: int) -> None:
        """Start anew."""
        self._bars.reset(self._task, total=n_files, description=title, rate="")
        self._features = self._bytes = 0

    def advance(self, n_files: int, n_features: int, n_bytes: int) -> None:
        """Files, features a second, bytes."""
        self._features, self._bytes = self._features + n_features, self._bytes + n_bytes
        elapsed = max(self._bars.tasks[0].elapsed or 0.0, 0.1)
        rate = f"{self._features / elapsed:,.0f} features/s" if self._features else ""
        self._bars.update(self._task, advance=n_files, rate=f"{self._bytes / 1e6:,.1f} MB {rate}")
