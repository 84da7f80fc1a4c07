"""echo: answers with what it is given. For trying a client: every kind of input and output, and a wait of known length.

OGC 18-062r2 recommends such a process to servers that are to be tested (/rec/core/test-process).
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely

from layers import crs
from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input
from twin.analysis.outputs import File
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City

STEP_S = 0.1
GEOJSON = "application/geo+json"


def echo(
    city: "City",
    *,
    text: str | None = None,
    number: float | None = None,
    flag: bool | None = None,
    date: str | None = None,
    list: list[float] | None = None,  # noqa: A002 the input's name
    bbox: dict[str, Any] | None = None,
    bytes: bytes | None = None,  # noqa: A002
    object: dict[str, Any] | None = None,  # noqa: A002
    either: str | dict[str, Any] | None = None,
    features: dict[str, Any] | None = None,
    pause_s: float = 0.0,
    fail: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What was given, after `pause_s` seconds; `bytes` as a file, `features` as GeoJSON in CRS84."""
    end = time.monotonic() + pause_s
    while (left := end - time.monotonic()) > 0:
        progress(100.0 * (1.0 - left / pause_s), "waiting")
        time.sleep(min(STEP_S, left))
    if fail:
        raise InvalidInput("fail is true: this is the failure that was asked for.", "Leave fail out.")
    given: dict[str, Any] = {
        "text": text, "number": number, "flag": flag, "date": date, "list": list, "bbox": bbox, "object": object,
        "either": either,
    }  # fmt: skip
    if bytes is not None:
        path = progress.file("bytes.bin")
        path.write_bytes(bytes)
        given["bytes"] = File(path, "application/octet-stream")
    if features is not None:
        given["features"] = _geojson(city, features)
    return {name: value for name, value in given.items() if value is not None}


def _geojson(city: "City", given: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for batch in features_input.read(city, "features", given):
        shapes = crs.transform_geometries(city.crs, crs.CRS84, batch.geometry)
        texts = shapely.to_geojson(np.asarray(shapes, object))
        rows = batch.attributes.to_pylist() if batch.attributes.num_columns else [{}] * len(batch)
        found += [
            {"type": "Feature", "id": key, "geometry": None if text is None else orjson.loads(text), "properties": row}
            for key, text, row in zip(batch.ids, texts, rows, strict=True)
        ]
        if len(found) > features_input.MOST_INLINE:
            raise InvalidInput(
                f"features are more than {features_input.MOST_INLINE}.", "Give a filter or a smaller bbox."
            )
    return {"type": "FeatureCollection", "features": found}


_SAME: dict[str, tuple[Title, dict[str, Any]]] = {
    "text": (Title("文本", "Text"), {"type": "string", "maxLength": 100_000}),
    "number": (Title("数值", "Number"), {"type": "number"}),
    "flag": (Title("布尔值", "True or false"), {"type": "boolean"}),
    "date": (Title("日期", "Date"), {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}),
    "bbox": (
        Title("范围框", "Box"),
        {
            "type": "object", "required": ["bbox"], "format": "ogc-bbox",
            "properties": {
                "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
                "crs": {"type": "string", "format": "uri", "default": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
            },
        },
    ),
    "object": (Title("对象", "Any object"), {"type": "object"}),
    "either": (
        Title("文本或几何", "Text or GeoJSON geometry"),
        {"oneOf": [{"type": "string", "contentMediaType": "text/plain"},
                   {"type": "object", "required": ["type"], "format": "geojson-geometry",
                    "contentMediaType": "application/geo+json"}]},
    ),
}  # fmt: skip
_LIST = (Title("数值列表", "Numbers"), {"type": "number"})
_BYTES = Title("字节", "Bytes")
_FEATURES = Title("要素", "Features")

PROCESS = Process(
    id="echo",
    title=Title("回显", "Echo"),
    description=Title(
        "原样返回输入，可指定等待时间；用于测试客户端。", "Answers with its inputs after a pause; for testing clients."
    ),
    inputs={name: Parameter(title, schema, required=False) for name, (title, schema) in _SAME.items()}
    | {
        "list": Parameter(*_LIST, required=False, max_occurs=1000),
        "bytes": Parameter(
            _BYTES,
            {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/octet-stream"},
            required=False,
        ),
        "features": Parameter(_FEATURES, features_input.SCHEMA, required=False),
        "pause_s": Parameter(
            Title("等待", "Wait before answering"),
            {"type": "number", "minimum": 0, "maximum": 60, "default": 0, "x-unit": "s"},
            required=False,
        ),
        "fail": Parameter(Title("失败", "Fail at the end"), {"type": "boolean", "default": False}, required=False),
    },
    outputs={name: Parameter(title, schema) for name, (title, schema) in _SAME.items()}
    | {
        "list": Parameter(_LIST[0], {"type": "array", "items": _LIST[1]}),
        "bytes": Parameter(
            _BYTES,
            {"type": "string", "contentEncoding": "binary", "contentMediaType": "application/octet-stream"},
            media_type="application/octet-stream",
        ),
        "features": Parameter(
            _FEATURES, {"type": "object", "format": "geojson-feature-collection"}, media_type=GEOJSON
        ),
    },
    function=echo,
    keywords=("test",),
)
