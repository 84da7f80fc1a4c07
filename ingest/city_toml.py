"""`city.toml`: what a folder of sources says about itself, and about files that do not say enough.

```toml
name = "linhai"
title = {zh = "临海镇", en = "Linhai town"}
crs = "EPSG:4549"            # of the city
vertical_crs = "EPSG:5737"
origin = [121.0, 28.1]       # longitude, latitude
height_model = "egm96"

[[source]]
path = "pipes/*.shp"         # below the folder; `**/` is any folder; without `/` a name in any folder.
                             # Every table that matches a file counts; what a later one says goes before
table = "zones"              # only this table of files with several; without it, every table
layer = "pipe_water"
crs = "EPSG:4549"
encoding = "gb18030"
columns = {dn_mm = "管径"}
units = {dn_mm = "mm"}
values = {z_ref = "crown"}
id_column = "BH"
epoch = "2026-05-01"
skip = false
```

Keys of more than one word or number (`control_points`, `correct`, `join` …) are in `ingest.source_keys`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ingest import source_keys
from layers import crs
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

FILE = "city.toml"

_TOP: dict[str, tuple[type, ...]] = {
    "name": (str,), "title": (dict,), "crs": (str,), "vertical_crs": (str,), "origin": (list,),
    "height_model": (str, dict), "source": (list,),
}  # fmt: skip
_SOURCE: dict[str, tuple[type, ...]] = {
    "path": (str,), "layer": (str,), "crs": (str,), "vertical_crs": (str,), "encoding": (str,), "columns": (dict,),
    "units": (dict,), "values": (dict,), "table": (str,), "id_column": (str,), "epoch": (str,), "skip": (bool,),
    "drape": (bool,),
    **source_keys.TYPES,
}  # fmt: skip


@dataclass(frozen=True)
class FileHints(Hints):
    """Hints of a file, and what is said about single tables of it (GeoPackage holds several).

    Attributes
    ----------
    tables : table -> fields of Hints that hold for it, the file's own included
    """

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_table(self, table: str) -> Hints:
        """The hints of one table; the file's own where nothing more is said."""
        return replace(self, tables={}, **self.tables.get(table, {}))


def _without_keys(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in {"path", "table", "skip"}}


@dataclass(frozen=True)
class CityToml:
    """What `city.toml` says; all empty for a folder without one.

    Attributes
    ----------
    folder : where it lies; patterns and ids count from here
    origin : longitude and latitude in degrees, or None
    height_model : as `layers.heights.from_setting` takes it, or None
    sources : the `[[source]]` tables, in order
    """

    folder: Path
    name: str = ""
    title: Mapping[str, str] = field(default_factory=dict)
    crs: str | None = None
    vertical_crs: str | None = None
    origin: tuple[float, float] | None = None
    height_model: Any = None
    sources: tuple[Mapping[str, Any], ...] = ()

    def hints_for(self, path: Path) -> Hints:
        """What is said about one file: all blocks whose pattern matches, later ones before earlier ones."""
        said = self._said(path)
        tables = {row["table"] for row in self.sources if "table" in row and self._matches(row["path"], path)}
        return FileHints(
            root=self.folder,
            layer=said.get("layer"),
            crs=said.get("crs"),
            vertical_crs=said.get("vertical_crs"),
            encoding=said.get("encoding"),
            columns=said.get("columns", {}),
            units=said.get("units", {}),
            values=said.get("values", {}),
            id_column=said.get("id_column"),
            epoch=said.get("epoch"),
            drape=said.get("drape", False),
            city_crs=self.crs,
            **{key: said[key] for key in source_keys.TYPES if key in said},
            tables={table: _without_keys(self._said(path, table)) for table in sorted(tables)},
        )

    def skipped(self, path: Path) -> bool:
        """True if the file is to be passed over: by `skip`, or because it is the height grid and no layer."""
        if isinstance(self.height_model, dict) and "grid" in self.height_model:
            grid = os.path.realpath(self.folder / str(self.height_model["grid"]))
            if grid == os.path.realpath(path):
                return True
        return bool(self._said(path).get("skip", False))

    def unmatched(self) -> list[Issue]:
        """An issue for each pattern that matches no file of the folder: usually a typing error."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()] if self.sources else []
        return [
            Issue(
                "PATTERN_MATCHES_NOTHING",
                f"{FILE} [[source]] {number}",
                f"{row['path']!r} matches no file.",
                "Correct the pattern or remove the table.",
            )
            for number, row in enumerate(self.sources, 1)
            if not any(self._matches(row["path"], path) for path in paths)
        ]

    def _said(self, path: Path, table: str | None = None) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for row in self.sources:
            if self._matches(row["path"], path) and row.get("table") in {None, table}:
                for key, value in row.items():
                    said[key] = {**said.get(key, {}), **value} if isinstance(value, dict) else value
        return said

    def _matches(self, pattern: str, path: Path) -> bool:
        name = (path.relative_to(self.folder) if path.is_relative_to(self.folder) else path).as_posix()
        return bool(_pattern(pattern).fullmatch(name if "/" in pattern else path.name))


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """`*` and `?` stay inside a folder, `**` does not; without `/` it speaks of names in any folder."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text.removeprefix("./"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def load(folder: Path) -> CityToml:
    """Read `folder/city.toml`; an empty one where there is none. Raises InvalidInput that names table and key."""
    path = folder / FILE
    if not path.exists():
        return CityToml(folder)
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.", "Correct that place.", code="CITY_TOML_BROKEN"
        ) from error
    _check(document, _TOP, "the top level")
    rows = document.get("source", [])
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise _wrong("source", "the top level", "must be tables, written [[source]]")
        _check(row, _SOURCE, f"[[source]] {number}")
        _check_source(row, f"[[source]] {number}")
        try:
            row.update(source_keys.checked(row))
        except InvalidInput as error:
            raise InvalidInput(f"{FILE}, [[source]] {number}: {error.problem}", error.hint, code=error.code) from error
    return CityToml(
        folder=folder,
        name=document.get("name", ""),
        title=_title(document.get("title", {})),
        crs=_crs(document, "crs", "the top level"),
        vertical_crs=_crs(document, "vertical_crs", "the top level"),
        origin=_origin(document.get("origin")),
        height_model=document.get("height_model"),
        sources=tuple(rows),
    )


def _wrong(key: str, where: str, problem: str, hint: str = "") -> InvalidInput:
    return InvalidInput(
        f"{FILE}, {where}: {key} {problem}.", hint or "See the guide to city.toml.", code="CITY_TOML_WRONG"
    )


def _check(table: dict[str, Any], allowed: dict[str, tuple[type, ...]], where: str) -> None:
    for key, value in table.items():
        if key not in allowed:
            raise _wrong(repr(key), where, "is no key of it", f"Keys are {', '.join(allowed)}.")
        if not isinstance(value, allowed[key]):
            kinds = " or ".join(kind.__name__ for kind in allowed[key])
            raise _wrong(key, where, f"must be of type {kinds}, not {value!r}")


def _check_source(row: dict[str, Any], where: str) -> None:
    if row.get("skip") and "table" in row:
        raise _wrong("skip", where, "is for whole files", "Remove table, or skip.")
    if "path" not in row:
        raise _wrong("path", where, "is missing", "Every [[source]] names the files it speaks of.")
    for table in ("columns", "units"):
        for key, value in row.get(table, {}).items():
            if not isinstance(value, str):
                raise _wrong(f"{table}.{key}", where, f"must be text, not {value!r}")
    if "crs" in row:
        row["crs"] = _crs(row, "crs", where)
    if "vertical_crs" in row:
        row["vertical_crs"] = _crs(row, "vertical_crs", where)
    if "layer" in row:
        from layers import catalogue
        from layers.errors import LayerNotFound

        try:
            catalogue.layer_type(row["layer"])
        except LayerNotFound as error:
            raise _wrong("layer", where, f"{row['layer']!r} is not in the catalogue", error.hint) from error


def _crs(table: dict[str, Any], key: str, where: str) -> str | None:
    if key not in table:
        return None
    try:
        return crs.name(table[key])
    except InvalidInput as error:
        raise _wrong(key, where, f"is not known: {error.problem}", error.hint) from error


def _title(value: dict[str, Any]) -> dict[str, str]:
    for key, text in value.items():
        if key not in {"zh", "en"} or not isinstance(text, str):
            raise _wrong(f"title.{key}", "the top level", "must be text under zh or en")
    return value


def _origin(value: list[Any] | None) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = [float(each) for each in value if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) != len(value) or len(value) != 2 or not (-180 <= numbers[0] <= 180 and -90 <= numbers[1] <= 90):
        raise _wrong("origin", "the top level", f"must be [longitude, latitude] in degrees, not {value!r}")
    return numbers[0], numbers[1]
