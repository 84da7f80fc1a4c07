"""The settings of a twin that does not exist yet: from `city.toml`, else from the sources by stated rules."""

import filecmp
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import shapely

import ingest
from ingest.city_toml import CityToml
from ingest.scan import SourceFile
from layers import crs
from layers.errors import CityTwinError, InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Reading
from twin.config import DEFAULT_VERTICAL, TwinConfig
from twin.fuse.datum import EGM96_HEIGHT, is_modern

GRID = "height_grid"
"""Name of the twin's own copy of a height grid, without its suffix."""


@dataclass
class _Survey:
    """What the sources say about where they are."""

    crs: Counter[str] = field(default_factory=Counter)
    geographic: Counter[str] = field(default_factory=Counter)
    vertical: Counter[str] = field(default_factory=Counter)
    lonlat: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def decide(toml: CityToml, files: Sequence[SourceFile]) -> tuple[TwinConfig, list[Issue]]:
    """Settings for a new twin, and an issue for each that was decided for the user.

    Rules: the CRS is the projected one that most sources name (of equals, the first in the alphabet; of one in feet,
    its twin in metres); where all are in degrees, the 3-degree zone of CGCS2000 or else the UTM zone that their middle
    lies in; the height datum the one that most sources name, else EPSG:5737 (EGM96 heights outside China); the origin
    lies in the middle of the centres of all layers that are where that CRS holds. Raises InvalidInput where no source
    names a CRS and `city.toml` gives none.
    """
    issues: list[Issue] = []
    needs_survey = toml.crs is None or toml.origin is None
    survey = _survey(toml, files) if needs_survey else _Survey()
    city_crs, vertical = toml.crs, toml.vertical_crs
    if city_crs is None:
        city_crs = _most_common(survey.crs)
        if city_crs is not None:
            why = f"which most sources name ({dict(survey.crs)})"
        elif survey.geographic and survey.lonlat:
            city_crs = zone(*_median(survey.lonlat), _most_common(survey.geographic) or crs.WGS84)
            why = f"{crs.parse(city_crs).name}, the zone of the sources, which are all in degrees"
        else:
            first = f" {survey.problems[0]}" if survey.problems else ""
            raise InvalidInput(
                f"None of the {len(files)} sources names a CRS, and city.toml gives none.{first}",
                f'Write into {toml.folder / "city.toml"}: crs = "EPSG:4549" (with the true code).',
            )
        issues.append(_decided("CITY_CRS_CHOSEN", "crs", f"{city_crs}, {why}"))
    origin = toml.origin
    if origin is None:
        origin = _middle(survey, city_crs)
        issues.append(_decided("CITY_ORIGIN_CHOSEN", "origin", f"{origin[0]}, {origin[1]}: the middle of all layers"))
    if vertical is None:
        vertical = _most_common(survey.vertical) or _usual_datum(*origin)
        why = "which the sources name" if survey.vertical else "as no source names a height datum"
        issues.append(_decided("CITY_HEIGHTS_CHOSEN", "vertical_crs", f"{vertical}, {why}"))
    model = "egm96" if toml.height_model is None else toml.height_model
    config = TwinConfig(
        name=toml.name or toml.folder.resolve().name,
        crs=crs.name(city_crs),
        origin_lon_deg=origin[0],
        origin_lat_deg=origin[1],
        vertical_crs=crs.name(vertical),
        height_model=_absolute(model, toml.folder),
        title=dict(toml.title),
    )
    _check_units(config)
    if "ballpark" in crs.description(config.crs, crs.WGS84).lower() and not is_modern(config.crs):
        message = (
            f"No datum shift leads from {crs.parse(config.crs).name} to WGS 84: maps are right, but 3D tiles and "
            "terrain may lie some hundred metres beside them."
        )
        hint = "Choose a CRS on CGCS2000 or WGS 84 for the city."
        issues.append(Issue("CITY_DATUM_SHIFT_UNKNOWN", "crs", message, hint, "warning"))
    return config, issues


def _check_units(config: TwinConfig) -> None:
    """Raises InvalidInput for a city in degrees, in feet or of depths: everything in the store is in metres."""
    for key, given in (("crs", config.crs), ("vertical_crs", config.vertical_crs)):
        twin = crs.in_metres(given)
        if twin == crs.name(given):
            continue
        way = f'Write {key} = "{twin}" into city.toml: the same' if twin else f"Write another {key} into city.toml,"
        problem = f"{given} ({crs.parse(given).name}) is not in metres, as a city's {key} must be."
        raise InvalidInput(problem, f"{way} in metres. Sources may stay as they are.", code="CITY_UNIT")


def with_own_grid(config: TwinConfig, twin_dir: Path) -> TwinConfig:
    """The settings with a copy of the height grid in the twin's folder, so that the folder can be moved."""
    model = config.height_model
    if not (isinstance(model, dict) and set(model) == {"grid"}):
        return config
    given = Path(str(model["grid"]))
    if not given.is_file():
        raise InvalidInput(f"The height grid {given} does not exist.", "Correct height_model in city.toml.")
    own = f"{GRID}{given.suffix}"
    shutil.copyfile(given, twin_dir / own)
    return replace(config, height_model={"grid": own})


def check_same(config: TwinConfig, toml: CityToml, twin_dir: Path) -> None:
    """Refuse to move a twin that exists: its frame hangs on these settings."""
    wanted: dict[str, tuple[object, object]] = {
        "crs": (toml.crs and crs.name(toml.crs), config.crs),
        "vertical_crs": (toml.vertical_crs and crs.name(toml.vertical_crs), config.vertical_crs),
        "origin": (toml.origin, (config.origin_lon_deg, config.origin_lat_deg)),
        "height_model": (_absolute(toml.height_model, toml.folder), config.height_model),
    }
    for key, (new, old) in wanted.items():
        if new is not None and new != old and not _same_grid(new, old, twin_dir):
            raise InvalidInput(
                f"city.toml now says {key} = {new!r}, but the twin was built with {old!r}.",
                "Build into a new folder, or put the old value back.",
            )


def _same_grid(new: object, old: object, twin_dir: Path) -> bool:
    if not (isinstance(new, dict) and isinstance(old, dict) and "grid" in new and "grid" in old):
        return False
    paths = Path(str(new["grid"])), twin_dir / str(old["grid"])
    return all(path.is_file() for path in paths) and filecmp.cmp(*paths, shallow=False)


def _absolute(model: object, source_dir: Path) -> object:
    """A grid named in city.toml lies beside it; the twin remembers where."""
    if isinstance(model, dict) and set(model) == {"grid"}:
        return {"grid": str((source_dir / str(model["grid"])).resolve())}
    return model


def _decided(code: str, where: str, what: str) -> Issue:
    return Issue(
        code, where, f"Taken for the city: {what}.", f"To choose another, write {where} into city.toml.", "info"
    )


def _most_common(counted: Counter[str]) -> str | None:
    return min(counted, key=lambda name: (-counted[name], name), default=None)


def _survey(toml: CityToml, files: Sequence[SourceFile]) -> _Survey:
    survey = _Survey()
    for file in files:
        try:
            file.check()
            _look(ingest.read(file.path, toml.hints_for(file.path)), survey)
        except CityTwinError as error:
            survey.problems.append(str(error))
        except Exception as error:  # noqa: BLE001 a reader's failure is reported when the source is read for good
            survey.problems.append(f"{file.name}: {error}")
    return survey


def _look(reading: Reading, survey: _Survey) -> None:
    named: set[str] = set()
    for layer in reading.layers:
        if layer.crs is None:
            continue
        flat = crs.horizontal(layer.crs)
        plane = None if crs.is_geographic(flat) else crs.in_metres(flat)
        if plane is None:
            survey.geographic[flat if crs.is_geographic(flat) else crs.WGS84] += 1
        else:
            named.add(plane)
        datum = layer.vertical_crs or crs.vertical(layer.crs)
        if datum and crs.parse(datum).is_vertical and (metric := crs.in_metres(datum)):
            survey.vertical[metric] += 1
        bounds = layer.bounds if isinstance(layer, AssetLayer) else _first_bounds(layer)
        if bounds is not None and np.isfinite(bounds).all():
            x, y = np.array([(bounds[0] + bounds[2]) / 2]), np.array([(bounds[1] + bounds[3]) / 2])
            lon, lat = crs.transform(flat, crs.WGS84, x, y)
            if np.isfinite([lon[0], lat[0]]).all():
                survey.lonlat.append((float(lon[0]), float(lat[0])))
    survey.crs.update(named)


def _first_bounds(layer: object) -> crs.Bounds | None:
    """Bounds of the first batch: enough for a middle, and cheap."""
    for batch in layer.batches():  # type: ignore[attr-defined]
        bounds = shapely.total_bounds(batch.geometry)
        return tuple(float(value) for value in bounds)  # type: ignore[return-value]
    return None


def _middle(survey: _Survey, city_crs: str) -> tuple[float, float]:
    """Median of the layers' centres, to a millionth of a degree: one layer in the wrong place does not move it."""
    area = crs.area_of_use(city_crs)
    west, south, east, north = area or (-180.0, -90.0, 180.0, 90.0)
    east += 360.0 if east < west else 0.0  # an area may lie across 180 degrees
    turned = [(west - 1 + (x - west + 1) % 360, y) for x, y in survey.lonlat]
    near = [(x, y) for x, y in turned if x <= east + 1 and south - 1 <= y <= north + 1]
    if not near:
        raise InvalidInput(
            f"No source lies where {city_crs} holds.", "Write origin = [longitude, latitude] into city.toml."
        )
    lon, lat = _median(near)
    return round((lon + 180) % 360 - 180, 6), round(lat, 6)


def _usual_datum(lon_deg: float, lat_deg: float) -> str:
    """The 1985 datum where it holds; elsewhere heights above EGM96, which is what the default height model knows."""
    area = crs.area_of_use(DEFAULT_VERTICAL)
    west, south, east, north = area or (-180.0, -90.0, 180.0, 90.0)
    return DEFAULT_VERTICAL if west <= lon_deg <= east and south <= lat_deg <= north else EGM96_HEIGHT


def _median(lonlat: Sequence[tuple[float, float]]) -> tuple[float, float]:
    lon, lat = np.median(np.array(lonlat), axis=0)
    return float(lon), float(lat)


def zone(lon_deg: float, lat_deg: float, geographic: str) -> str:
    """The projected CRS for a city at a place whose data are in a geographic one.

    CGCS2000 data get the 3-degree Gauss-Kruger zone without prefix (EPSG:4534 is 75 E, 4554 is 135 E), all others the
    UTM zone on WGS 84.
    """
    if "China Geodetic Coordinate System 2000" in crs.parse(geographic).name:
        return f"EPSG:{4534 + round((min(max(lon_deg, 75.0), 135.0) - 75) / 3)}"
    number = int((lon_deg + 180) // 6) % 60 + 1
    return f"EPSG:{32600 + number if lat_deg >= 0 else 32700 + number}"
