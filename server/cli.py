"""The command `citytwin`: results on stdout, progress on stderr, one-sentence errors with the next step.

Exit codes: 0 everything is stored or answered; 1 something was parked or rejected, and is named; 2 nothing could be
done, also where the system refuses a file. Any other exception is our own bug and keeps its traceback.
"""

import os
import sys

import typer

from layers.errors import CityTwinError
from server import cli_build, cli_export, cli_report, cli_serve, cli_show, cli_supervise, cli_verify

app = typer.Typer(
    name="citytwin",
    help="Survey files in, one served 3D city out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _function in (
    cli_build.build,
    cli_build.add,
    cli_build.check,
    cli_show.info,
    cli_serve.serve,
    cli_show.run,
    cli_supervise.supervise,
    cli_supervise.finding,
    cli_report.report,
    cli_verify.verify,
    cli_export.export,
    cli_serve.demo,
):
    app.command()(_function)


GDAL_CACHE_MB = "256"
"""Of blocks that GDAL keeps, unless the environment says otherwise; its own choice is 5 % of the machine's memory."""


def main() -> None:
    """Entry point of `citytwin` and `python -m server.cli`."""
    os.environ.setdefault("GDAL_CACHEMAX", GDAL_CACHE_MB)
    try:
        app()
    except CityTwinError as error:
        sys.stderr.write(f"citytwin: {error}\n")
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        name = os.fsdecode(error.filename)
        sys.stderr.write(f"citytwin: {name}: {error.strerror}. Check its permissions and the room on the disk.\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
