"""Inputs and outputs of flood-inundation."""

from typing import Any

from layers.catalogue import Title
from twin.analysis.features_input import RASTER_SCHEMA, SCHEMA
from twin.analysis.place import ANSWER_CRS, FEATURES_OUT, GEOJSON
from twin.analysis.process import Parameter
from twin.analysis.raster_out import KEEP_AS, raster_output

TITLE = Title("洪水淹没分析", "Flood inundation")
DESCRIPTION = Title(
    "给定水位，由种子（河流、水库、点）按四邻域连通淹没低于水位的格网；地面等于水位为干，无数据为墙并指出水面触及处。",
    "What is under water at a level, spreading from seeds (rivers, reservoirs, points) over ground below it by the "
    "sides of cells. Ground equal to the level is dry; a cell without height is a wall, and the answer says where "
    "water meets one or the rim.",
)


def _number(zh: str, en: str, unit: str, **more: Any) -> Parameter:
    return Parameter(Title(zh, en), {"type": "number", "x-unit": unit, **more})


def _count(zh: str, en: str) -> Parameter:
    return Parameter(Title(zh, en), {"type": "integer", "minimum": 0})


INPUTS: dict[str, Parameter] = {
    "level_m": Parameter(
        Title("水位（城市高程基准）", "Water level, in the city's heights"),
        {"type": "number", "minimum": -500, "maximum": 9000, "x-unit": "m"},
    ),
    "seeds": Parameter(
        Title("水从哪里来：点、线或面", "Where the water comes from: points, lines or areas"), SCHEMA, required=False,
        description=Title("连通法必须给出；自身在水位以上的种子不起作用并被列出",
                          "Needed by the connected method; a seed above the level starts nothing and is listed"),
    ),
    "method": Parameter(
        Title("方法", "Method"),
        {"type": "string", "enum": ["connected", "plain-threshold"], "default": "connected"}, required=False,
        description=Title("plain-threshold 淹没所有低于水位的格网，不问连通",
                          "plain-threshold floods every cell below the level, connected or not"),
    ),
    "dem": Parameter(Title("高程模型", "Elevation model; `dem` when absent"), RASTER_SCHEMA, required=False),
    "region": Parameter(Title("计算范围", "Where to look; all of the raster when absent"), SCHEMA, required=False),
    "cell_m": Parameter(
        Title("格网边长", "Side of a cell; the raster's own when absent"),
        {"type": "number", "minimum": 0.1, "maximum": 1000, "x-unit": "m"}, required=False,
    ),
    "exposed_layers": Parameter(
        Title("受影响对象的图层", "Layers whose features may stand in the water"), SCHEMA, required=False, max_occurs=8
    ),
    "homes": Parameter(
        Title("住房（人口按建筑面积分摊）", "Homes, over which people are spread by floor area"), SCHEMA, required=False
    ),
    "population": Parameter(
        Title("人口区域（population 属性）", "Areas with the attribute population"), SCHEMA, required=False
    ),
    "deeper_than_m": Parameter(
        Title("另计超过此水深的长度", "Tell lengths with more water than this apart"),
        {"type": "number", "minimum": 0, "maximum": 100, "default": 0.15, "x-unit": "m"}, required=False,
    ),
    "with_depth": Parameter(
        Title("输出水深栅格", "Make the raster of depths"), {"type": "boolean", "default": True}, required=False
    ),
    "with_outline": Parameter(
        Title("输出淹没范围面", "Make the outline"), {"type": "boolean", "default": True}, required=False
    ),
    "crs": ANSWER_CRS,
    "keep_as": KEEP_AS,
}  # fmt: skip

OUTPUTS: dict[str, Parameter] = {
    "level_m": _number("水位", "Water level", "m"),
    "method": Parameter(Title("方法", "Method"), {"type": "string"}),
    "n_cells": _count("淹没格网数", "Flooded cells"),
    "cell_m": Parameter(
        Title("格网边长", "Sides of a cell"),
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2, "x-unit": "m"},
    ),
    "is_native": Parameter(Title("是否原始格网", "The raster's own cells, not sampled between"), {"type": "boolean"}),
    "area_m2": _number("淹没面积（椭球）", "Flooded area on the ellipsoid", "m2", minimum=0),
    "area_plane_m2": _number("淹没面积（平面）", "Flooded area on the plane", "m2", minimum=0),
    "volume_m3": _number("水量（平面面积×水深）", "Volume, depth times plane area", "m3", minimum=0),
    "max_depth_m": _number("最大水深", "Greatest depth", "m", minimum=0),
    "is_open": Parameter(
        Title("水面触及数据边缘或无数据", "The water reaches the rim or cells without height: it may go on"),
        {"type": "boolean"},
    ),
    "n_void_cells": _count("邻水的无数据格网数", "Cells without height beside the water"),
    "n_rim_cells": _count("边缘上的淹没格网数", "Flooded cells on the rim"),
    "dry_seeds": Parameter(
        Title("不起作用的种子", "Seeds that start nothing, and why"),
        {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"},
         "reason": {"type": "string"}}}},
    ),
    "reason": Parameter(Title("无水的原因", "Why there is no water"), {"type": "string"}, required=False),
    "exposure": Parameter(
        Title("各图层受影响汇总", "Of each layer: what stands in the water"),
        {"type": "array", "items": {"type": "object", "properties": {
            "layer": {"type": "string"}, "n_exposed": {"type": "integer"},
            "length_m": {"type": "number", "x-unit": "m"}, "deep_length_m": {"type": "number", "x-unit": "m"},
            "max_depth_m": {"type": "number", "x-unit": "m"}, "population": {"type": ["number", "null"],
            "x-unit": "person"}, "n_population_unknown": {"type": "integer"}}}}, required=False,
    ),
    "exposed": Parameter(
        Title("受影响要素", "Features in the water, with their greatest depth and length in it"), FEATURES_OUT,
        required=False, media_type=GEOJSON,
    ),
    "people": Parameter(
        Title("受影响住房中的人口", "People in homes that stand in the water; value is null where not known"),
        {"type": "object", "x-unit": "person", "properties": {
            "value": {"type": ["number", "null"], "x-unit": "person"}, "known": {"type": "number", "x-unit": "person"},
            "n_homes": {"type": "integer"}, "n_homes_unknown": {"type": "integer"}, "spread_by": {"type": "string"},
            "areas_without_homes": {"type": "array", "items": {"type": "string"}}}}, required=False,
    ),
    "outline": Parameter(Title("淹没范围", "Outline of the water"), FEATURES_OUT, required=False, media_type=GEOJSON),
    "outline_left_out": Parameter(
        Title("未输出范围面的原因", "Why there is no outline"), {"type": "string"}, required=False
    ),
    "depth": raster_output("水深", "Depth of water", "m"),
}  # fmt: skip
