"""When a raster was made, and which rasters of a layer a moment or a period means.

An epoch is stated as exactly as it is known (`2026`, `2026-04`, `2026-04-18`) and stands for that whole time.
"""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from layers.errors import InvalidInput, NotFound
from twin.store.interface import Asset

Period = tuple[datetime | None, datetime | None]
"""First instant, and the instant after the last; None is open."""


def period(text: str) -> tuple[datetime, datetime]:
    """First instant of a year, month, day or time of RFC 3339, and the first one after it. ValueError for others."""
    if len(text) == 4:
        return _utc(int(text)), _utc(int(text) + 1)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        days = calendar.monthrange(year, month)[1]
        return _utc(year, month), _utc(year, month) + timedelta(days=days)
    if len(text) == 10:
        start = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return start, start + timedelta(days=1)
    read = datetime.fromisoformat(text)
    read = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    return read, read + timedelta(microseconds=1)


def made(asset: Asset) -> tuple[datetime, datetime] | None:
    """The time that a raster's epoch stands for; None where it has none, or none that can be read."""
    try:
        return period(asset.epoch) if asset.epoch else None
    except (ValueError, OverflowError):
        return None


def _utc(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def asked(text: str, name: str = "datetime") -> tuple[Period, bool]:
    """A `datetime` parameter as a period, and whether it is one instant. InvalidInput names the parameter."""
    first, slash, last = text.partition("/")
    try:
        if not slash:
            return period(first), True
        start = None if first in {"", ".."} else period(first)[0]
        end = None if last in {"", ".."} else period(last)[1]
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{name}={text[:60]!r} is neither a date or time nor an interval.",
            "Example: 2026-04-01/2026-04-30 or ../2026",
        ) from error
    if start and end and start >= end:
        raise InvalidInput(f"{name}={text[:60]!r} ends before it starts.", "Put the earlier one first.")
    return (start, end), False


def select(assets: Sequence[Asset], wanted: Period, *, is_instant: bool, layer: str) -> list[Asset]:
    """Rasters of a period; of an instant, all that were made until then. Those without an epoch are always in.

    The order stays, so the newest of them lies on top: an instant shows the layer as it was known then.
    """
    start, end = wanted
    kept, dated = [], []
    for asset in assets:
        known = made(asset)
        if known is None:
            kept.append(asset)
            continue
        first, after = known
        dated.append(str(asset.epoch))
        if is_instant:
            is_in = start is None or first <= start
        else:
            is_in = (end is None or first < end) and (start is None or after > start)
        if is_in:
            kept.append(asset)
    if not kept:
        raise NotFound(
            f"{layer} has no raster of that time.", f"datetime: there are {', '.join(sorted(set(dated))[:20])}."
        )
    return kept
