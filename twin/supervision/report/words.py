"""Words of a report in Chinese and English."""

import numpy as np

from layers.catalogue import Title
from twin.supervision.report.model import Language

_WORDS: dict[str, Title] = {
    "report": Title("监管报告", "Supervision report"),
    "summary": Title("概要", "Summary"),
    "made": Title("生成时间", "Made"),
    "place": Title("范围", "Place"),
    "whole": Title("全市", "the whole city"),
    "state": Title("状态", "Status"),
    "of": Title("数据时点", "Data as of"),
    "now": Title("当前", "now"),
    "crs": Title("坐标系", "Reference system"),
    "fail": Title("不合格", "fail"),
    "review": Title("待核查", "review"),
    "unknown": Title("无法判定", "unknown"),
    "pass": Title("合格", "pass"),
    "ok": Title("达标", "met"),
    "warn": Title("预警", "warning"),
    "no-target": Title("无目标", "no target"),
    "opened": Title("待处理", "opened"),
    "confirmed": Title("已确认", "confirmed"),
    "closed": Title("已关闭", "closed"),
    "high": Title("高", "high"),
    "medium": Title("中", "medium"),
    "low": Title("低", "low"),
    "checks": Title("检查", "Checks"),
    "check": Title("检查", "Check"),
    "findings": Title("发现", "Findings"),
    "map": Title("位置图", "Map"),
    "number": Title("序号", "No."),
    "verdict": Title("结论", "Verdict"),
    "finding": Title("问题", "Finding"),
    "object": Title("对象", "Object"),
    "measured": Title("实测", "Measured"),
    "limit": Title("限值", "Limit"),
    "clause": Title("条款", "Clause"),
    "confidence": Title("规则可信度", "Confidence of the rule"),
    "indicators": Title("指标", "Indicators"),
    "indicator": Title("指标", "Indicator"),
    "value": Title("现值", "Value"),
    "target": Title("目标", "Target"),
    "zones": Title("分区", "By zone"),
    "history": Title("历史", "History"),
    "forecast": Title("预测", "Forecast"),
    "none": Title("没有未通过的项目。", "Nothing that does not pass."),
    "more": Title("另有 {n} 项未列出，全部见图层 finding。", "{n} more are not listed; see the layer finding."),
    "explained": Title(
        "“无法判定”表示缺少数据；“待核查”表示规则可信度低或未知数据可能改变结论。",
        "Unknown: data is missing. Review: the rule is of low confidence, or what is not known could change it.",
    ),
    "met": Title("已达标", "met"),
    "expected": Title("预计 {date} 达标（{range}）", "expected on {date} ({range})"),
    "not-expected": Title("按现有趋势不会达标", "not as it goes"),
    "too-few": Title("记录不足三次，无法预测", "fewer than three records: no forecast"),
    "earliest": Title("最早 {date}", "{date} at the earliest"),
    "latest": Title("最迟 {date}", "{date} at the latest"),
    "no-latest": Title("最迟不定", "no latest day is sure"),
    "person": Title("人", "person"),
    "font": Title(
        "未找到中文字体。",
        "No font with Chinese glyphs was found: Chinese is shown as ?. Install one, or name it in CITYTWIN_FONT.",
    ),
    "page": Title("第 {n} 页 / 共 {total} 页", "Page {n} of {total}"),
}  # fmt: skip
COLOURS = {"fail": "#c62828", "review": "#ef6c00", "unknown": "#757575", "pass": "#2e7d32", "ok": "#2e7d32",
           "warn": "#f9a825", "no-target": "#546e7a"}  # fmt: skip
_UNITS = {"pct": "%", "m2": "m²", "m3": "m³", "km2": "km²", "m2/person": "m²/person", "km/km2": "km/km²"}
_SIGNS = {">=": "≥", "<=": "≤", ">": ">", "<": "<"}


def word(key: str, language: Language) -> str:
    """A word; itself where it is none of ours."""
    known = _WORDS.get(key)
    return key if known is None else str(getattr(known, language))


def told(title: Title | None, language: Language) -> str:
    """A title in the language; empty for None."""
    return "" if title is None else str(getattr(title, language))


def unit(symbol: str, language: Language) -> str:
    """A unit as it is read."""
    shown = _UNITS.get(symbol, symbol)
    return shown.replace("person", word("person", language))


def number(value: float | None) -> str:
    """A number with as many digits as say something; a dash for None."""
    if value is None:
        return "–"
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 1000 else 2 if abs(value) >= 10 else 3
    text = f"{value:,.{digits}f}".rstrip("0").rstrip(".")
    if abs(value) >= 0.01:
        return text
    return str(np.format_float_positional(value, precision=3, fractional=False, trim="-"))


def amount(value: float | None, symbol: str, language: Language) -> str:
    """A number with its unit."""
    shown = unit(symbol, language)
    if value is None or not shown:
        return number(value)
    return f"{number(value)}{'' if shown == '%' else ' '}{shown}"


def sign(comparator: str) -> str:
    """A comparator as it is printed."""
    return _SIGNS.get(comparator, comparator)
