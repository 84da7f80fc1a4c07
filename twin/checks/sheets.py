"""Map sheets: a survey that lies in the future is a mistyped date."""

from datetime import UTC, datetime, timedelta

from layers.catalogue import LayerType
from layers.source import FeatureBatch
from twin.fuse.notes import Notes

COLUMN = "survey_date"
ANY_ZONE = timedelta(hours=14)
"""Somewhere on Earth it is so much later."""


def check(layer_type: LayerType, batch: FeatureBatch, notes: Notes) -> None:
    """Note every feature whose survey date is after today; the date is kept."""
    if layer_type.attribute(COLUMN) is None:
        return
    today = (datetime.now(UTC) + ANY_ZONE).date()
    days = batch.attributes.column(COLUMN).to_pylist()
    late = [i for i, day in enumerate(days) if day is not None and day > today]
    told = [f"Its survey date {days[i].isoformat()} lies in the future." for i in late]
    notes.add("DATE_IN_FUTURE", [batch.ids[i] for i in late], told, "Correct survey_date.", "warning")
