"""`twin.toml`: name, coordinate reference systems, origin and height model of a city."""

import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layers import crs, heights
from layers.errors import InvalidInput, NotFound
from layers.frame import CityFrame

FILE = "twin.toml"
DEFAULT_VERTICAL = "EPSG:5737"


@dataclass(frozen=True)
class TwinConfig:
    """Settings of a twin.

    Attributes
    ----------
    name : short name; title : in Chinese (`zh`) and English (`en`)
    crs : projected CRS in which features are stored; vertical_crs : datum of normal heights
    origin_lon_deg, origin_lat_deg, origin_h_m : origin of the ENU frame (ellipsoidal height)
    height_model : `"egm96"`, `{"constant_m": 12.3}` or `{"grid": "file.gtx"}`
    """

    name: str
    crs: str
    origin_lon_deg: float
    origin_lat_deg: float
    origin_h_m: float = 0.0
    vertical_crs: str = DEFAULT_VERTICAL
    height_model: Any = "egm96"
    title: dict[str, str] = field(default_factory=dict)

    def frame(self, folder: Path) -> CityFrame:
        """The city's frame; `folder` is where a relative height grid lies."""
        model = heights.from_setting(self.height_model, folder)
        return CityFrame(self.crs, model, self.origin_lon_deg, self.origin_lat_deg, self.origin_h_m)

    def title_in(self, language: str) -> str:
        """Title in `zh` or `en`, the name where there is none."""
        return self.title.get(language) or self.name


def load(folder: Path) -> TwinConfig:
    """Read `folder/twin.toml`. NotFound where there is none, InvalidInput where it does not make sense."""
    path = folder / FILE
    try:
        document = tomllib.loads(path.read_text("utf8"))
    except FileNotFoundError as error:
        raise NotFound(f"{folder} is not a twin: it has no {FILE}.", f"citytwin build SOURCE_DIR {folder}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", "Correct it, or build the twin again.") from error
    try:
        lon, lat, h_m = (float(v) for v in document["origin"])
        return TwinConfig(
            name=str(document["name"]),
            crs=crs.name(str(document["crs"])),
            origin_lon_deg=lon,
            origin_lat_deg=lat,
            origin_h_m=h_m,
            vertical_crs=str(document.get("vertical_crs", DEFAULT_VERTICAL)),
            height_model=document.get("height_model", "egm96"),
            title=dict(document.get("title", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} lacks or misstates {error}.", "It needs name, crs and origin.") from error


def save(config: TwinConfig, folder: Path) -> None:
    """Write `folder/twin.toml` in one step (a reader sees the old file or the new one)."""
    lines = [
        f"name = {_toml(config.name)}",
        f"title = {_toml(config.title)}",
        f"crs = {_toml(config.crs)}",
        f"vertical_crs = {_toml(config.vertical_crs)}",
        f"origin = {_toml([config.origin_lon_deg, config.origin_lat_deg, config.origin_h_m])}",
        f"height_model = {_toml(config.height_model)}",
    ]
    temporary = folder / f".{FILE}.{os.getpid()}"
    temporary.write_text("\n".join(lines) + "\n", "utf8")
    temporary.replace(folder / FILE)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
