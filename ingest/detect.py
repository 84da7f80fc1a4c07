"""Which layer type a table is: by hint, by the words of its name, by its columns and geometry; or a type of its own.

Nothing is guessed in silence: when neither name nor columns speak clearly, the table becomes a layer of its own and an
issue names the candidates and what to write into city.toml.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

import pyarrow as pa

from ingest import columns as names
from ingest.geometry import kind
from ingest.place import toml_lines
from layers import catalogue
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

MIN_COLUMNS = 3
"""So many columns of its own must match before columns alone decide."""

MIN_COLUMNS_WITH_FILE = 2
"""So many must match when the file's name speaks for a type but the table's does not."""

RESERVED = {"id", "fid", "version", "valid_from", "valid_to", "extra", "geom", "geometry", "rowid", "ogc_fid", "mesh"}
"""Names that the store uses itself."""


@dataclass(frozen=True)
class Detection:
    """What a table was taken for.

    Attributes
    ----------
    layer_type : of the catalogue, or made for this table
    is_own : the type was made for this table
    columns : attribute -> column, given or needed because a column's name is taken by the store
    issues : why, when it is not plain
    """

    layer_type: LayerType
    is_own: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()

    @property
    def fields(self) -> dict[str, pa.DataType]:
        """Columns of a type of its own, as `VectorLayer.fields` wants them."""
        own = [each for each in self.layer_type.attributes if each.name not in common_names()]
        return {each.name: each.arrow_type for each in own} if self.is_own else {}


def detect(
    file_name: str,
    table_name: str,
    schema: pa.Schema,
    geometry_type: str,
    hints: Hints,
    *,
    cut: bool = False,
    is_only: bool = True,
) -> Detection:
    """The type of one table.

    Parameters
    ----------
    file_name : path below the source folder, for messages and words
    table_name : layer inside the file, equal to the stem for formats with one
    schema : attribute columns
    geometry_type : simple-features name, `Unknown` for mixed ones, `none` without geometry
    cut : names were cut at 10 bytes
    is_only : the file has no other table
    """
    if hints.layer is not None:
        return _hinted(hints.layer, geometry_type, table_name)
    stem = re.split(r"[\\/]", file_name)[-1].split(".")[0]
    scores = _scores([table_name] if table_name != stem else [stem], [stem], schema.names, geometry_type, cut=cut)
    if scores and scores[0][0] > 0 and (len(scores) == 1 or scores[0][0] > scores[1][0]):
        return Detection(scores[0][1])
    candidates = [layer_type.id for score, layer_type in scores[:4] if score > 0] or _near(
        schema.names, geometry_type, cut=cut
    )
    told = {"path": file_name} if is_only else {"path": file_name, "table": table_name}
    return _own(told, table_name, schema, geometry_type, candidates)


def _hinted(layer_id: str, geometry_type: str, table_name: str) -> Detection:
    layer_type = catalogue.layer_type(layer_id)
    if layer_id == catalogue.SOURCE:
        raise InvalidInput(f"Layer {layer_id!r} is written by the build itself.", "Choose another `layer`.")
    if not layer_type.is_vector:
        raise InvalidInput(
            f"Layer {layer_id!r} holds {layer_type.geometry}, not features.", "Correct `layer` in city.toml."
        )
    if not _fits(layer_type, geometry_type):
        problem = f"{table_name!r} holds {geometry_type}, but layer {layer_id!r} holds {layer_type.geometry}."
        raise InvalidInput(problem, "Correct `layer` in city.toml.", code="LAYER_GEOMETRY_DIFFERS")
    return Detection(layer_type)


def _fits(layer_type: LayerType, geometry_type: str) -> bool:
    wanted, given = kind(layer_type.geometry), kind(geometry_type)
    if given in {"Unknown", "GeometryCollection", "Geometry"}:
        return wanted != "none"
    return wanted == given


def _fitting(geometry_type: str) -> list[LayerType]:
    known = [each for each in catalogue.load().values() if each.is_vector and each.id != catalogue.SOURCE]
    return [each for each in known if _fits(each, geometry_type)]


def _scores(
    tables: Sequence[str], files: Sequence[str], columns: Sequence[str], geometry_type: str, *, cut: bool
) -> list[tuple[float, LayerType]]:
    """Types that the name (or, failing that, the columns) speaks for, best first."""
    fitting = _fitting(geometry_type)
    for words in (tables, files):
        spoken = [(max(_name_score(each, word) for word in words), each) for each in fitting]
        named = [(score, _n_own(each, columns, cut=cut), each) for score, each in spoken if score > 0]
        if words != tables:  # the name of a file says little about one of its several tables: columns must agree
            named = [row for row in named if row[1] >= MIN_COLUMNS_WITH_FILE]
        if named:
            return sorted(((score + 0.2 * n, each) for score, n, each in named), key=lambda pair: -pair[0])
    by_columns = [(_n_own(each, columns, cut=cut), each) for each in fitting]
    enough = [(float(n), each) for n, each in by_columns if n >= max(MIN_COLUMNS, len(columns) / 3)]
    return sorted(enough, key=lambda pair: -pair[0])


def name_words(name: str) -> str:
    """`Water-Pipes 2024（给水）` -> `_water_pipes_2024_给水_`: lower-case words between underscores."""
    narrow = unicodedata.normalize("NFKC", name)
    narrow = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", narrow).lower()
    narrow = re.sub(r"(?<=[^\W_])(?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff])(?=[a-z0-9])", "_", narrow)
    joined = re.sub(r"(?<=[\u4e00-\u9fff])_(?=[\u4e00-\u9fff])", "", narrow)
    return f"_{'_'.join(word for word in re.split(r'[\W_]+', joined) if word)}_"


def _name_score(layer_type: LayerType, name: str) -> float:
    words = name_words(name)
    best = 0.0
    for token in (layer_type.id, layer_type.title.zh, *layer_type.tokens):
        spoken = name_words(token)
        core = spoken.strip("_")
        is_chinese = any("\u4e00" <= char <= "\u9fff" for char in core)
        plural = spoken.rstrip("_") + "s_"
        if (is_chinese and core in words) or spoken in words or plural in words:
            # a Chinese character says about as much as three letters
            best = max(best, float(len(core) * (3 if is_chinese else 1)))
    return best


def _n_own(layer_type: LayerType, columns: Sequence[str], *, cut: bool) -> int:
    """How many columns match attributes that not every layer has."""
    matched = names.match(layer_type, columns, {}, cut=cut)
    return sum(name not in common_names() for name in matched)


@lru_cache(maxsize=1)
def common_names() -> frozenset[str]:
    """Attributes that every layer has."""
    nothing = catalogue.from_fields("none", "none", "none", {})
    return frozenset(attribute.name for attribute in nothing.attributes)


def _near(columns: Sequence[str], geometry_type: str, *, cut: bool) -> list[str]:
    fitting = _fitting(geometry_type)
    ranked = sorted(((_n_own(each, columns, cut=cut), each.id) for each in fitting), reverse=True)
    return [layer_id for n, layer_id in ranked[:3] if n > 0]


def slug(name: str) -> str:
    """A layer id made from a table's name: ASCII letters, digits, underscores; a hash stands for other scripts."""
    narrow = unicodedata.normalize("NFKC", name).lower()
    ascii_only = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", narrow)).strip("_")
    if any(ord(char) > 127 and char.isalnum() for char in narrow) or not ascii_only:
        ascii_only = f"{ascii_only}_{blake2b(narrow.encode(), digest_size=3).hexdigest()}".strip("_")
    if not ascii_only[0].isalpha() or len(ascii_only) < 2:
        ascii_only = f"layer_{ascii_only}"
    made = ascii_only[:40]
    return f"own_{made[:36]}" if made in catalogue.load() else made


def _own(
    told: dict[str, str], table_name: str, schema: pa.Schema, geometry_type: str, candidates: list[str]
) -> Detection:
    layer_id = slug(table_name)
    empty = catalogue.from_fields(layer_id, table_name, _stored_geometry(geometry_type), {})
    common = names.match(empty, schema.names, {}, cut=False)
    taken = {name.lower() for name in common_names()} | RESERVED
    fields: dict[str, pa.DataType] = {}
    columns = dict(common)
    for each in schema:
        if each.name in common.values():
            continue
        name = each.name
        while name.lower() in taken:
            name = f"{name}_in_file" if name == each.name else f"{name}_"
        taken.add(name.lower())
        fields[name] = each.type
        columns[name] = each.name
    made = catalogue.from_fields(
        layer_id, table_name, empty.geometry, {name: _plain(type_) for name, type_ in fields.items()}
    )
    maybe = f" It could be {', '.join(candidates)}." if candidates else ""
    lines = toml_lines(**told, layer=candidates[0] if candidates else "building")
    sentence = f"{table_name!r} is no layer of the catalogue by name or columns; it is kept as {layer_id!r}.{maybe}"
    issue = Issue(
        "LAYER_TYPE_UNKNOWN", table_name, sentence,
        f"If it is one, write into city.toml:\n{lines}", "warning",
    )  # fmt: skip
    return Detection(made, is_own=True, columns=columns, issues=(issue,))


def _plain(type_: pa.DataType) -> pa.DataType:
    simple = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp)
    return type_ if any(test(type_) for test in simple) else pa.string()


def _stored_geometry(geometry_type: str) -> str:
    base = kind(geometry_type)
    if base not in {"Point", "LineString", "Polygon"}:
        return "none" if base == "none" else "MultiPolygon"
    z = "Z" if geometry_type.endswith(("Z", "ZM")) or geometry_type.startswith(("2.5D", "3D")) else ""
    is_single = base == "Point" and not geometry_type.removeprefix("2.5D ").removeprefix("3D ").startswith("Multi")
    return base + z if is_single else f"Multi{base}{z}"
