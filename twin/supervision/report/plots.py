"""Small plots of indicators as shapes in a unit box: writers draw them as SVG or as lines of a PDF."""

from dataclasses import dataclass

from twin.supervision.report.model import IndicatorLine


@dataclass(frozen=True)
class Bar:
    """A value on a scale, as shares of its width: how far it is filled, and where the target stands."""

    filled: float
    target: float | None


def bar(line: IndicatorLine, value: float | None) -> Bar | None:
    """A value of an indicator beside its target; shares end at 100 %, others a quarter beyond the larger of the two."""
    if value is None:
        return None
    top = 100.0 if line.unit == "pct" else 1.25 * max(abs(value), abs(line.target or 0.0), 1e-12)
    top = max(top, value, line.target or 0.0)
    return Bar(max(value, 0.0) / top, None if line.target is None else max(line.target, 0.0) / top)


@dataclass(frozen=True)
class Trace:
    """Values over time in a unit box, x to the right, y upwards, and the height of the target."""

    points: list[tuple[float, float]]
    target: float | None


def trace(line: IndicatorLine) -> Trace | None:
    """The values that were kept; None for fewer than two."""
    if len(line.history) < 2:
        return None
    first, last = line.history[0][0], line.history[-1][0]
    heights = [value for _, value in line.history] + ([] if line.target is None else [line.target])
    low, high = min(heights), max(heights)
    span = (high - low) or 1.0
    points = [((day - first) / max(last - first, 1), (value - low) / span) for day, value in line.history]
    return Trace(points, None if line.target is None else (line.target - low) / span)
