"""Property tables in binary, as glTF and subtrees share them: sizes, offsets, UTF-8, enums, ranges."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.json_text import child, is_count, objects, pick
from tiles.verify.property_schema import COMPONENTS, WIDTHS

View = Callable[[int], bytes | None]
"""Bytes of a buffer view; None where there is no such view or it cannot be read."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One property of a table: numbers as (elements, width), or strings as bytes between offsets."""

    prop: dict[str, Any]
    numbers: Array | None = None
    text: bytes = b""
    offsets: Array | None = None

    def values(self) -> list[Any]:
        """Elements as Python values (strings decoded with replacement)."""
        if self.offsets is not None:
            ends = self.offsets.tolist()
            return [self.text[a:b].decode("utf8", "replace") for a, b in pairwise(ends)]
        return [] if self.numbers is None else self.numbers[:, 0].tolist()


def check_table(  # noqa: PLR0917 - who, where, what, by which schema, from where
    findings: Findings, where: str, table: Any, schema: dict[str, Any], view: View, code: str = "METADATA_TABLE"
) -> dict[str, Column]:
    """Columns that could be read, by property id; everything wrong becomes findings."""
    classes = child(schema, "classes")
    if not isinstance(table, dict) or not isinstance(classes.get(str(table.get("class"))), dict):
        findings.add(code, where, f"Class {child(table).get('class')!r} is not in the schema.")
        return {}
    if not is_count(table.get("count"), 1):
        findings.add(code, where, f"count is {table.get('count')!r}.")
        return {}
    properties, entries = child(classes[table["class"]], "properties"), child(table, "properties")
    for key, prop in properties.items():
        if isinstance(prop, dict) and prop.get("required") and key not in entries:
            findings.add(code, where, f"Required property {key!r} is missing.")
    columns = {}
    for key, entry in entries.items():
        if not isinstance(properties.get(key), dict) or not isinstance(entry, dict):
            findings.add(code, where, f"Property {key!r} is not in class {table['class']!r}.")
            continue
        at = f"{where}/properties/{key}"
        column = _Reader(findings, at, entry, view, child(schema, "enums")).read(properties[key], table["count"])
        if column is not None:
            columns[key] = column
    return columns


@dataclass
class _Reader:
    findings: Findings
    where: str
    entry: dict[str, Any]
    view: View
    enums: dict[str, Any]

    def read(self, prop: dict[str, Any], count: int) -> Column | None:
        values = self._bytes("values")
        if values is None:
            return None
        elements = self._elements(prop, count)
        if elements is None:
            return None
        if prop.get("type") == "STRING":
            return self._strings(prop, values, elements)
        if prop.get("type") == "BOOLEAN":
            self._size(len(values), -(-elements // 8))
            return None
        kind, width = self._component(prop), WIDTHS.get(str(prop.get("type")), 1)
        if kind is None or not self._size(len(values), elements * width * kind.itemsize):
            return None
        array = np.frombuffer(values, kind, elements * width).reshape(elements, width)
        if prop.get("type") == "ENUM":
            self._enum(prop, array)
        self._range(prop, array)
        return Column(prop, array)

    def _bytes(self, key: str) -> bytes | None:
        at = self.entry.get(key)
        data = self.view(at) if is_count(at) and isinstance(at, int) else None
        if data is None:
            self.findings.add("METADATA_SIZE", self.where, f"{key} is {at!r}, not a buffer view that can be read.")
        return data

    def _size(self, has: int, wants: int) -> bool:
        if has != wants:
            self.findings.add("METADATA_SIZE", self.where, f"The view has {has:,} bytes, count and type say {wants:,}.")
        return has >= wants

    def _component(self, prop: dict[str, Any]) -> np.dtype[Any] | None:
        if prop.get("type") == "ENUM":
            enum = child(self.enums, str(prop.get("enumType")))
            return pick(COMPONENTS, enum.get("valueType", "UINT16")) if enum else None
        return COMPONENTS.get(str(prop.get("componentType")))

    def _elements(self, prop: dict[str, Any], count: int) -> int | None:
        """Elements of all rows: arrays of fixed length, or of lengths by offsets."""
        if not prop.get("array"):
            return count
        if "count" in prop:
            return count * prop["count"] if is_count(prop["count"]) else None
        offsets = self._offsets("arrayOffsets", "arrayOffsetType", count, None)
        return None if offsets is None else int(offsets[-1])

    def _strings(self, prop: dict[str, Any], values: bytes, elements: int) -> Column | None:
        offsets = self._offsets("stringOffsets", "stringOffsetType", elements, len(values))
        if offsets is None:
            return None
        text = values[: int(offsets[-1])]
        try:
            text.decode("utf8")
            inside = np.frombuffer(text + b"\0", "u1")[offsets.astype(np.int64)]
            broken = np.flatnonzero((inside & 0xC0) == 0x80)
            if len(broken):
                self.findings.add("METADATA_UTF8", self.where, f"String {broken[0]} begins inside a character.")
        except UnicodeDecodeError as error:
            self.findings.add("METADATA_UTF8", self.where, f"Not UTF-8 at byte {error.start}.")
        return Column(prop, None, text, offsets)

    def _offsets(self, key: str, type_key: str, count: int, end: int | None) -> Array | None:
        kind = COMPONENTS.get(str(self.entry.get(type_key, "UINT32")))
        data = self._bytes(key)
        if data is None or kind is None or kind.kind != "u" or not self._size(len(data), (count + 1) * kind.itemsize):
            return None
        offsets = np.frombuffer(data, kind, count + 1)
        falls = np.flatnonzero(offsets[1:] < offsets[:-1])
        if offsets[0] != 0 or len(falls) or (end is not None and int(offsets[-1]) != end):
            words = f"falls after row {falls[0]}" if len(falls) else f"goes from {offsets[0]} to {offsets[-1]} of {end}"
            self.findings.add("METADATA_OFFSETS", self.where, f"{key} {words}.")
            return None
        return offsets

    def _enum(self, prop: dict[str, Any], array: Array) -> None:
        known = objects(child(self.enums, str(prop.get("enumType"))).get("values"))
        codes = [each["value"] for each in known if isinstance(each.get("value"), int) and abs(each["value"]) < 2**62]
        strange = np.setdiff1d(array, np.array(codes, np.int64))
        if len(strange):
            self.findings.add("METADATA_ENUM", self.where, f"Value {strange[0]} is not in {prop.get('enumType')}.")

    def _range(self, prop: dict[str, Any], array: Array) -> None:
        if prop.get("normalized") or str(prop.get("type")) not in WIDTHS or any(k in prop for k in ("scale", "offset")):
            return
        rows = array
        if "noData" in prop and not prop.get("array"):
            rows = array[~np.all(array == np.asarray(prop["noData"]).reshape(1, -1), axis=1)]
        for key, sign in (("min", -1), ("max", 1)):
            limit = prop.get(key)
            if limit is None or prop.get("array") or not len(rows):
                continue
            try:
                over = (rows.astype(np.float64) - np.asarray(limit, np.float64)) * sign
            except (ValueError, TypeError, OverflowError):
                continue
            if (over > 1e-6 * np.maximum(1, np.abs(np.asarray(limit, np.float64)))).any():
                self.findings.add("METADATA_RANGE", self.where, f"A value lies beyond {key} {limit}.")
