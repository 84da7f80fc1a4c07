"""What a city rules for itself: `rules/`, `indicators/` and `supervision.toml` beside the sources go into the twin.

They are checked before anything is read: a rule that is wrong is an error that names it, as a wrong city.toml is. What
the twin's folder has of its own stays; a file of the same name takes its place.
"""

import shutil
from pathlib import Path

from server.jobs import schedule
from twin.supervision import indicators, rules

FOLDERS = (rules.CITY_FOLDER, indicators.CITY_FOLDER)
SUFFIXES = (".yaml", ".yml")


def take(source_dir: Path, twin_dir: Path) -> int:
    """Check and copy them; how many files. InvalidInput names the file and what is wrong in it."""
    found = [path for name in FOLDERS for path in sorted((source_dir / name).glob("*")) if path.suffix in SUFFIXES]
    found.append(source_dir / schedule.FILE)
    found = [path for path in found if path.is_file() and not path.is_symlink()]
    if not found:
        return 0
    rules.load(source_dir)
    indicators.load(source_dir)
    schedule.read(source_dir)
    for path in found:
        target = twin_dir / path.relative_to(source_dir)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return len(found)
