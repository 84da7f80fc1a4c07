"""The layer catalogue: what a city is made of, as data.

One YAML file for each CIM category (CJJ/T 315-2022 data categories), valid against `catalogue.schema.json`. Code is
never repeated per layer: readers, store, tiles and server learn everything from these types.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pyarrow as pa
import yaml

from layers.errors import InvalidInput, LayerNotFound

CATEGORIES = ("base", "survey", "plan", "project", "public", "iot", "cim_product")

SOURCE = "source"
"""The layer that the build writes about the sources themselves; no file is ever taken for it."""

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Title:
    """A name in Chinese and English."""

    zh: str
    en: str

    def to_dict(self) -> dict[str, str]:
        """As a JSON object."""
        return {"zh": self.zh, "en": self.en}


@dataclass(frozen=True)
class Attribute:
    """One attribute of a layer type: its type, the unit it is stored in, its domain, its names in files."""

    name: str
    type: str
    title: Title
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    codes: dict[str, Title] = field(default_factory=dict)
    required: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def arrow_type(self) -> pa.DataType:
        """The column type in a FeatureBatch."""
        return ARROW_TYPES[self.type]


@dataclass(frozen=True)
class LayerType:
    """One kind of layer. `geometry` is a simple-features name, `none`, `raster`, `points` or `tileset`."""

    id: str
    title: Title
    geometry: str
    category: str
    level: tuple[int, ...]
    attributes: tuple[Attribute, ...] = ()
    style: dict[str, Any] = field(default_factory=lambda: {"color": "#888888"})
    access: str = "open"
    solid: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    id_from: tuple[str, ...] = ()
    description: Title | None = None

    @property
    def is_vector(self) -> bool:
        """True for layers that are tables of features, with or without geometry."""
        return self.geometry not in {"raster", "points", "tileset"}

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, or None."""
        return next((each for each in self.attributes if each.name == name), None)

    def arrow_schema(self) -> pa.Schema:
        """Columns of a FeatureBatch of this type, in order."""
        return pa.schema([(each.name, each.arrow_type) for each in self.attributes])


@lru_cache(maxsize=1)
def category_titles() -> dict[str, Title]:
    """Titles of the seven categories of CIM data (CJJ/T 315-2022), in drawing order."""
    return {category: _title(_document(category)["title"]) for category in CATEGORIES}


@lru_cache(maxsize=1)
def load() -> dict[str, LayerType]:
    """Every layer type by id, inheritance resolved, common attributes first."""
    common = tuple(_attribute(row) for row in _document("common")["attributes"])
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    for category in CATEGORIES:
        for row in _document(category)["layers"]:
            if row["id"] in rows:
                raise InvalidInput(f"The catalogue names layer {row['id']!r} twice.")
            rows[row["id"]] = (category, row)
    return {key: _layer_type(key, rows, common) for key in rows}


def layer_type(layer_id: str) -> LayerType:
    """The type of that id; LayerNotFound otherwise."""
    known = load()
    if layer_id not in known:
        raise LayerNotFound(layer_id, list(known))
    return known[layer_id]


def from_fields(layer_id: str, title: str, geometry: str, fields: dict[str, pa.DataType]) -> LayerType:
    """A layer type for a table that the catalogue does not know: its own columns, under the file's name."""
    names = {pa.types.is_integer: "integer", pa.types.is_floating: "number", pa.types.is_boolean: "boolean"}
    names |= {pa.types.is_date: "date", pa.types.is_timestamp: "datetime"}
    attributes = tuple(
        Attribute(name, next((word for test, word in names.items() if test(kind)), "string"), Title(name, name))
        for name, kind in fields.items()
    )
    return LayerType(layer_id, Title(title, title), geometry, "public", (1,), _common() + attributes)


def _common() -> tuple[Attribute, ...]:
    any_type = next(iter(load().values()))
    return any_type.attributes[: _n_common()]


def _n_common() -> int:
    return len(_document("common")["attributes"])


@lru_cache(maxsize=16)
def _document(stem: str) -> dict[str, Any]:
    text = (files("layers.catalogue") / f"{stem}.yaml").read_text("utf8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, loader)  # noqa: S506 safe in C or in Python


def _title(row: dict[str, str]) -> Title:
    return Title(row["zh"], row["en"])


def _attribute(row: dict[str, Any]) -> Attribute:
    codes = {str(code): _title(title) for code, title in row.get("codes", {}).items()}
    return Attribute(**{**row, "title": _title(row["title"]), "codes": codes, "aliases": tuple(row.get("aliases", ()))})


def _layer_type(key: str, rows: dict[str, tuple[str, dict[str, Any]]], common: tuple[Attribute, ...]) -> LayerType:
    category, row = rows[key]
    own = tuple(_attribute(each) for each in row.get("attributes", ()))
    base = rows.get(row.get("base", ""), (category, {}))[1]
    inherited = tuple(_attribute(each) for each in base.get("attributes", ()))
    names = {each.name for each in own}
    attributes = common + tuple(each for each in inherited if each.name not in names) + own
    made = LayerType(
        id=key,
        title=_title(row["title"]),
        geometry=row["geometry"],
        category=category,
        level=tuple(row["level"]),
        attributes=attributes,
        style=row["style"],
        access=row.get("access", "open"),
        solid=row.get("solid", base.get("solid")),
        values=row.get("values", {}),
        tokens=tuple(row.get("tokens", ())),
        id_from=tuple(row.get("id_from", base.get("id_from", ()))),
    )
    return replace(made, description=_title(row["description"])) if "description" in row else made
