"""`citytwin info` and `citytwin run`: what a twin holds, and questions put to it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layers.errors import InvalidInput
from server.cli_build import json_or_text

if TYPE_CHECKING:
    from twin.city import City

TwinDir = Annotated[Path, typer.Argument(help="Folder of the twin.")]


def info(
    twin_dir: TwinDir,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Show layers, counts, extents, placement certificates and what is parked."""
    import twin

    with twin.open(twin_dir) as city:
        facts = describe(city)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1, default=str))
    else:
        _show(facts)


def describe(city: "City") -> dict[str, Any]:
    """What `citytwin info --json` prints."""
    config = city.config
    layers = [
        {
            "id": layer.id, "title": layer.type.title.to_dict(), "category": layer.type.category, "count": layer.count,
            "mesh_count": layer.mesh_count, "bounds": layer.bounds, "z_bounds": layer.z_bounds,
            "version": layer.version, "updated": layer.updated,
        }
        for layer in city.layers
    ]  # fmt: skip
    assets = [
        {
            "id": asset.id, "layer": asset.layer, "kind": asset.kind, "path": asset.path, "crs": asset.crs,
            "bounds": asset.city_bounds, "epoch": asset.epoch,
        }
        for asset in city.store.assets(city.scope)
    ]  # fmt: skip
    return {
        "name": config.name,
        "title": config.title,
        "crs": config.crs,
        "vertical_crs": config.vertical_crs,
        "origin": [config.origin_lon_deg, config.origin_lat_deg, config.origin_h_m],
        "height_model": city.frame.height_model.describe(),
        "version": city.store.version(),
        "layers": layers,
        "assets": assets,
        "sources": _reports(city),
    }


def _reports(city: "City") -> list[dict[str, Any]]:
    """Reports of the store; a file's own where a source that is parked kept its old features."""
    by_source = {report["source"]: report for report in city.store.reports()}
    folder = city.folder / "reports"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        report = json.loads(path.read_text("utf8"))
        if report["status"] == "parked":
            by_source[report["source"]] = report
    return [by_source[name] for name in sorted(by_source)]


def _show(facts: dict[str, Any]) -> None:
    title = facts["title"].get("zh") or facts["name"]
    typer.echo(
        f"{title} ({facts['name']}): {facts['crs']}, heights {facts['vertical_crs']}, version {facts['version']}"
    )
    typer.echo(f"\n{'layer':24} {'features':>10} {'meshes':>10}  extent (west south east north)")
    for layer in facts["layers"]:
        box = " ".join(f"{value:.1f}" for value in layer["bounds"]) if layer["bounds"] else "-"
        typer.echo(f"{layer['id']:24} {layer['count']:10,} {layer['mesh_count']:10,}  {box}")
    for asset in facts["assets"]:
        typer.echo(f"{asset['layer']:24} {asset['kind']:>10} {asset['epoch'] or '':>10}  {asset['path']}")
    typer.echo("\nsource: status, how it was placed")
    for report in facts["sources"]:
        placed = report["certificate"] or {}
        accuracy = "" if placed.get("accuracy_m") is None else f", ±{placed['accuracy_m']} m"
        how = f"{placed['method']} {placed['source_crs'] or ''}{accuracy}" if placed else "-"
        typer.echo(f"{report['source']}: {report['status']}, {how}")
        for line in _placement(placed):
            typer.echo(f"    {line}")
        for issue in report["issues"]:
            if issue["severity"] == "error":
                typer.echo(f"    {issue['code']} at {issue['where']}: {issue['message']} {issue['hint']}".rstrip())


def _placement(placed: Mapping[str, Any]) -> list[str]:
    """Datum and transformation of a certificate, the residuals of a fit, what was corrected, what disagrees."""
    if not placed:
        return []
    lines = [placed["transformation"]] if placed["transformation"] else []
    if placed["source_vertical_crs"]:
        lines.append(f"heights in {placed['source_vertical_crs']}")
    fit = placed["parameters"].get("control_points", {})
    if "rms_m" in fit:
        lines.append(
            f"{fit['points']} control points, {fit['model']}, redundancy {fit['redundancy']}: "
            f"RMS {fit['rms_m']:.3f} m, at most {fit['max_m']:.3f} m; "
            f"scale {fit['scale_ppm']:+.1f} ppm, turned {fit['rotation_deg']:.4f}°"
        )
    lines += placed["parameters"].get("corrections", [])
    return [*lines, *(f"contradiction: {words}" for words in placed["contradictions"])]


def run(
    twin_dir: TwinDir,
    process: Annotated[str, typer.Argument(help="Id of the process, such as buffer-query.")],
    values: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="JSON, or text.")] = None,
    *,
    input_file: Annotated[str | None, typer.Option("--input", help="JSON file with the inputs; - is stdin.")] = None,
    files: Annotated[
        Path | None,
        typer.Option(help="Folder for outputs that are files, such as rasters; a temporary one without it."),
    ] = None,
) -> None:
    """Run an analysis, the same as /processes/PROCESS/execution; its answer is JSON on stdout."""
    import orjson

    import twin
    from server.cli_progress import percent
    from twin import analysis

    inputs = _inputs(input_file)
    for text in values or []:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise InvalidInput(f"{text!r} is not NAME=VALUE.", "Write for example distance_m=50.")
        inputs[name] = json_or_text(value)
    if files is not None:
        files.mkdir(parents=True, exist_ok=True)
    with twin.open(twin_dir) as city, percent(process, files) as progress:
        answer = analysis.run(process, city, inputs, progress=progress)
    text = orjson.dumps(answer, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2).decode()
    typer.echo(text)


def _inputs(source: str | None) -> dict[str, Any]:
    """The inputs object itself, or an execute request that holds it under `inputs`."""
    if source is None:
        return {}
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8-sig")
        document = json.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"The inputs in {source} cannot be read: {error}.", "Give a JSON object.") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"The inputs in {source} are not a JSON object.", 'Write {"name": value}.')
    return dict(document.get("inputs", document))
