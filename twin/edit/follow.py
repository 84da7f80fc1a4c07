"""What follows from an edit for other features: devices find the pipe that they belong to."""

from layers.issue import Issue
from twin.fuse import attach
from twin.store.interface import WriteBatch

MOST_FEATURES = 50_000
"""Of devices and pipes together; with more, the links are made anew by the next build that touches them."""


def links(batch: WriteBatch) -> list[Issue]:
    """The links of valves, hydrants, pumps and inlets after an edit of one of them or of a pipe."""
    touched = batch.touched()
    if not attach.is_needed(touched):
        return []
    devices = sum(batch.count(layer_id) for layer_id in attach.FITTING)
    if not devices:
        return []
    n = devices + sum(batch.count(layer_id) for layer_id in attach.ALL_PIPES)
    if n > MOST_FEATURES:
        return [
            Issue(
                "EDIT_LINKS_STALE",
                ", ".join(sorted(touched)),
                f"{n:,} devices and pipes are too many to be linked "
                "anew at once: which pipe a device belongs to is as before.",
                "The next build that reads one of them does it.",
                "info",
            )
        ]
    return attach.attach(batch)
