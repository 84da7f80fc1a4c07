"""`citytwin supervise`, `citytwin finding`: hold the rules against the city, say what becomes of what is found."""

import sys
from typing import Annotated, Any

import typer

from layers.errors import InvalidInput
from server.cli_show import TwinDir

ALL = "all"


def supervise(
    twin_dir: TwinDir,
    supervision: Annotated[str, typer.Argument(help="construction, water, one-map or all.")] = ALL,
    *,
    site: Annotated[str | None, typer.Option(help="Id of a construction site, or layer/id of a feature.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north, in --crs.")] = None,
    crs: Annotated[str | None, typer.Option(help="Of the box; CRS84 when absent, `city` for the city's.")] = None,
    check: Annotated[list[str] | None, typer.Option(help="Only this check; may be given several times.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the findings in the layer `finding`.")] = True,
    strict: Annotated[bool, typer.Option(help="Exit code 1 where something fails.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON, as the process gives it.")] = False,
) -> None:
    """Hold the rules against a site, a box or the whole city."""
    import orjson

    import twin
    from server.cli_progress import percent
    from twin import analysis
    from twin.supervision.check import SUPERVISIONS

    names = list(SUPERVISIONS) if supervision == ALL else [supervision]
    if names[0] not in SUPERVISIONS:
        raise InvalidInput(f"There is no supervision {supervision!r}.", f"Known: {', '.join(SUPERVISIONS)}, {ALL}.")
    inputs: dict[str, Any] = {"keep": keep}
    inputs |= {key: value for key, value in (("site", site), ("crs", crs), ("checks", check)) if value}
    if bbox is not None:
        inputs["bbox"] = _numbers(bbox)
    answers = {}
    with twin.open(twin_dir) as city:
        for name in names:
            with percent(name) as progress:
                answers[name] = analysis.run(f"supervise-{name}", city, inputs, progress=progress)
    if as_json:
        text = orjson.dumps(answers if supervision == ALL else answers[names[0]], option=orjson.OPT_SERIALIZE_NUMPY)
        typer.echo(text.decode())
    else:
        for answer in answers.values():
            _show(answer)
    if strict and any(answer["counts"]["fail"] for answer in answers.values()):
        sys.exit(1)


def _numbers(text: str) -> list[float]:
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise InvalidInput(f"--bbox {text!r} is not four numbers.", "Write west,south,east,north.")
    return found


def _show(answer: dict[str, Any]) -> None:
    counts = answer["counts"]
    where = answer.get("site", "")
    typer.echo(f"{answer['supervision']} {where}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    typer.echo(f"  {'check':28} {'rule':34} {'verdict':8} {'fail':>6} {'review':>6} {'unknown':>7} {'pass':>8}")
    for check in answer["checks"]:
        for rule in check["rules"]:
            n = rule["counts"]
            typer.echo(
                f"  {check['check']:28} {rule['rule_id']:34} {rule['verdict'] or '-':8} {n['fail']:6,} "
                f"{n['review']:6,} {n['unknown']:7,} {n['pass']:8,}"
            )
    if "stored" in answer:
        typer.echo("  findings: " + ", ".join(f"{n:,} {name}" for name, n in answer["stored"].items()))


def finding(
    twin_dir: TwinDir,
    ids: Annotated[list[str], typer.Argument(help="Ids of findings.")],
    *,
    status: Annotated[str, typer.Option(help="opened, confirmed or closed.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
) -> None:
    """Confirm, close or open findings again."""
    import twin
    from twin.supervision import finding as findings

    known = next((each for each in findings.STATUSES if each == status), None)
    if known is None:
        raise InvalidInput(f"--status {status!r} is not one of {', '.join(findings.STATUSES)}.")
    with twin.open(twin_dir) as city:
        typer.echo(f"{findings.set_status(city, ids, known, by, note)} {known}")
