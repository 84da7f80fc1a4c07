"""What the town rules for itself: the climate zone and the people by which the sunlight standard judges it."""

from pathlib import Path

TEXT = """\
# 清湾市自己的监管规则。Rules of the town: they take the place of CityTwin's, key by key.
rules:
  - id: sunlight-place
    parameters: {climate_zone: III, population_person: 16383}
"""


def write(path: Path) -> None:
    """The rules of the town at `path`."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(TEXT, encoding="utf-8")
