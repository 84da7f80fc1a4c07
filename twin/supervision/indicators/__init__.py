"""Indicators as data: what is measured, the target, the words of the plan behind it; by city, town and village.

`indicators.yaml` is ours; `TWIN/indicators/*.yaml` of a city are read after it, where an indicator of the same id takes
the place of ours, key by key, and a new one is added. A measure is one of a fixed vocabulary (`indicator.schema.json`),
so that no definition needs code.
"""

from twin.supervision.indicators.admin import Zones, of_city, of_features
from twin.supervision.indicators.definition import CITY_FOLDER, Indicator, chosen, load
from twin.supervision.indicators.evaluate import Row, Value, evaluate
from twin.supervision.indicators.source import Source

__all__ = [
    "CITY_FOLDER",
    "Indicator",
    "Row",
    "Source",
    "Value",
    "Zones",
    "chosen",
    "evaluate",
    "load",
    "of_city",
    "of_features",
]
