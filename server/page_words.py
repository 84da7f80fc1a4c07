"""Words on pages: media types, links and members of documents as people call them, in Chinese and English."""

import json
from urllib.parse import quote

KINDS = {
    "application/json": "JSON", "application/geo+json": "GeoJSON", "text/html": "HTML",
    "application/schema+json": "JSON Schema", "application/json+3dtiles": "3D Tiles",
    "application/vnd.mapbox-vector-tile": "MVT", "application/vnd.mapbox.style+json": "MapLibre",
    "application/vnd.oai.openapi+json": "OpenAPI 3.0", "application/x-qgis-project": "QGIS",
    "application/vnd.laszip+copc": "COPC", "image/tiff": "GeoTIFF (COG)", "image/png": "PNG", "image/jpeg": "JPEG",
    "application/fg+json": "JSON-FG", "text/csv": "CSV",
    "application/flatgeobuf": "FlatGeobuf", "application/vnd.apache.parquet": "GeoParquet", "text/xml": "XML",
    "application/geopackage+sqlite3": "GeoPackage", "application/city+json": "CityJSON",
    "application/city+json-seq": "CityJSONSeq", "application/vnd.cov+json": "CoverageJSON", "application/xml": "XML",
    "application/problem+json": "Problem",
}  # fmt: skip

LINK_TITLES = {
    "3D viewer": "三维浏览", "QGIS project with every layer": "含全部图层的 QGIS 工程", "Conformance": "符合性声明",
    "3D Tiles of the whole city": "全城三维瓦片", "Terrain (quantized mesh)": "地形（quantized mesh）",
    "Styles of the map of all layers": "全部图层的地图样式", "Terrain-RGB": "地形（Terrain-RGB）", "Processes": "分析",
    "Collections": "图层", "Items as GeoJSON": "要素（GeoJSON）", "Items as HTML": "要素（网页）", "Styles": "样式",
    "Schema of collection in JSON": "属性结构（JSON）", "Schema of collection in HTML": "属性结构（网页）",
    "Queryables for this collection as JSON": "可查询属性（JSON）", "Vector tiles": "矢量瓦片",
    "Vector tiles of all layers": "全部图层的矢量瓦片",
    "Queryables for this collection as HTML": "可查询属性（网页）", "TileJSON (MVT)": "TileJSON（矢量瓦片）",
    "3D Tiles, compact": "三维瓦片（紧凑）", "3D Tiles, float32": "三维瓦片（float32）", "Map tiles": "地图瓦片",
    "3D Tiles, explicit, float32 (QGIS)": "三维瓦片（显式，float32，QGIS）", "TileJSON (image)": "TileJSON（影像）",
    "Map": "地图", "Map as JPEG": "地图（JPEG）", "Map in degrees (CRS84)": "地图（经纬度，CRS84）", "Legend": "图例",
    "Analyses": "分析", "Fields of the coverage": "数据字段", "Values at points": "点位取值", "Stations": "测站",
    "Values along a line (profile)": "剖面取值", "Values in an area": "区域取值", "3D GeoVolume": "三维地理体",
    "Values within a radius": "半径内取值", "Values in a box": "矩形内取值",
    "Coverage (geotiff)": "覆盖数据（GeoTIFF）", "Coverage (covjson)": "覆盖数据（CoverageJSON）",
    "Coverage (netcdf)": "覆盖数据（NetCDF）", "Coverage (png)": "覆盖数据（PNG）",
    "Description": "说明", "Execute (POST)": "执行（POST）",
    "Coverage": "覆盖数据", "Results": "结果",
    "API documentation": "接口文档", "Job list": "任务", "Jobs": "任务", "Job results": "结果", "Catalogue": "目录",
}  # fmt: skip
"""Titles of links as the documents have them, in Chinese."""

KEYS = {
    "layers": ("图层", "Layers"), "collections": ("图层", "Collections"), "styles": ("样式", "Styles"),
    "jobs": ("任务", "Jobs"), "tilesets": ("瓦片集", "Tilesets"), "tileMatrixSets": ("瓦片矩阵集", "Tile matrix sets"),
    "tileMatrixSetLimits": ("瓦片范围", "Limits"), "tileMatrices": ("瓦片矩阵", "Tile matrices"),
    "boundingBox": ("范围", "Bounding box"), "extent": ("范围", "Extent"), "links": ("链接", "Links"),
    "features": ("要素", "Features"), "properties": ("属性", "Properties"), "title": ("标题", "Title"),
    "description": ("说明", "Description"), "id": ("标识", "Id"), "crs": ("坐标系", "CRS"),
    "default": ("默认", "Default"), "type": ("类型", "Type"), "status": ("状态", "Status"),
    "progress": ("进度", "Progress"), "message": ("消息", "Message"),
    "created": ("创建", "Created"), "started": ("开始", "Started"), "finished": ("结束", "Finished"),
    "updated": ("更新", "Updated"), "jobID": ("任务", "Job"), "processID": ("分析", "Process"),
    "keywords": ("关键词", "Keywords"), "inputs": ("输入", "Inputs"), "outputs": ("输出", "Outputs"),
    "dataType": ("数据类型", "Data type"), "version": ("版本", "Version"), "name": ("名称", "Name"),
    "parameters": ("参数", "Parameters"), "license": ("许可", "Licence"), "time": ("时间", "Time"),
    "verdict": ("结论", "Verdict"), "measured": ("实测值", "Measured"), "limit": ("限值", "Limit"),
    "unit": ("单位", "Unit"), "clause": ("条款", "Clause"), "rule_id": ("规则", "Rule"), "rule": ("规则", "Rule"),
    "source": ("依据", "Document"), "confidence": ("规则可信度", "Confidence"), "objects": ("对象", "Objects"),
    "note": ("备注", "Note"), "check": ("检查", "Check"), "counts": ("计数", "Counts"), "rules": ("规则", "Rules"),
    "checks": ("检查与规则", "Checks and rules"), "findings": ("发现", "Findings"), "evidence": ("证据", "Evidence"),
    "seconds": ("用时 (s)", "Seconds"), "supervision": ("监管", "Supervision"), "site": ("工地", "Site"),
    "stored": ("入库结果", "What keeping did"), "opened": ("新增", "Opened"), "again": ("仍存在", "Found again"),
    "reopened": ("重新打开", "Opened again"), "closed": ("已关闭", "Closed"),
}  # fmt: skip
"""Members of documents as headings; what is not here stands as it is in the JSON."""


VERDICTS = {
    "fail": ("不合格", "fail"), "review": ("待核查", "review"), "unknown": ("无法判定", "unknown"),
    "pass": ("合格", "pass"),
}  # fmt: skip
RESULTS = {
    "$features": ("要素：{}", "Features: {}"), "$more": ("另有 {} 项，见 JSON。", "{} more in the JSON."),
    "$file": ("文件", "File"), "$bytes": ("{} 字节", "{} bytes"), "$none": ("无", "none"),
    "$keep": ("要保存为图层，请填写 keep_as 后再运行。", "To keep it as a layer, fill in keep_as and run again."),
    "$values": ("数值", "Values"), "$notjson": ("不是有效的 JSON：", "This is no JSON: "),
    "$box": ("请写四个数：西、南、东、北。", "Write four numbers: west, south, east, north."),
    "$number": ("不是数字：", "This is no number: "), "$layer": ("请选择图层。", "Choose a layer."),
}  # fmt: skip
"""Words of the script that shows results."""


def result_words(code: str) -> dict[str, str]:
    """What the script on an analysis' page needs: names of members, verdicts, words of its own."""
    column = 0 if code == "zh" else 1
    verdicts = {f"verdict:{key}": both[column] for key, both in VERDICTS.items()}
    return {key: both[column] for key, both in (KEYS | RESULTS).items()} | verdicts


def verdict(name: object, code: str) -> str:
    """A verdict in the reader's language."""
    zh, en = VERDICTS.get(str(name), (str(name), str(name)))
    return zh if code == "zh" else en


def objects(text: object) -> list[tuple[str, str | None]]:
    """Objects of a finding, kept as a JSON list of `layer/id`: each with the path of its item, where it has one."""
    try:
        listed = json.loads(str(text))
    except ValueError:
        return [(str(text), None)]
    made: list[tuple[str, str | None]] = []
    for each in listed if isinstance(listed, list) else [listed]:
        layer, _, name = str(each).partition("/")
        path = f"/collections/{quote(layer, safe='')}/items/{quote(name, safe='')}" if layer and name else None
        made.append((str(each), path))
    return made


def note(text: object, code: str) -> str:
    """A note of a run is kept as `中文 / English`: the reader's half; one that a person wrote is taken as it is."""
    zh, between, en = str(text).partition(" / ")
    if between and _is_chinese(zh) and not _is_chinese(en):
        return zh if code == "zh" else en
    return str(text)


def kind_name(media_type: str | None) -> str:
    """A media type as people call it."""
    return KINDS.get((media_type or "").split(";")[0].strip(), media_type or "")


def link_title(title: str | None, code: str) -> str:
    """The title of a link in the reader's language, as far as we know it."""
    for between in (" / ", " · "):
        first, _, second = (title or "").partition(between)
        if second and _is_chinese(first) != _is_chinese(second):
            return first if _is_chinese(first) == (code == "zh") else second
    return LINK_TITLES.get(title or "", title or "") if code == "zh" else title or ""


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def key_title(name: object, code: str) -> str:
    """A member's name as a heading."""
    zh, en = KEYS.get(str(name), (str(name), str(name)))
    return zh if code == "zh" else en


def unit(name: str) -> str:
    """A unit as it is printed."""
    return name.replace("m2", "m²").replace("m3", "m³")
