"""Which of several media types a reader likes best (RFC 9110, 12.5.1)."""

from collections.abc import Mapping

MOST = 2000
"""Characters of a header that are read."""


def preferred(accept: str, offered: Mapping[str, str]) -> str | None:
    """The name in `offered` (name -> media type) that `Accept` prefers to all others.

    None where the reader has no preference: everything is as welcome as the best, or nothing is.
    """
    weights: dict[str, float] = {}
    for part in accept[:MOST].split(","):
        name, *more = (piece.strip().lower() for piece in part.split(";"))
        try:
            weights[name] = float(next((piece[2:] for piece in more if piece.startswith("q=")), "1"))
        except ValueError:
            continue
    wild = max(weights.get("*/*", 0.0), weights.get("image/*", 0.0))
    liked = {name: weights.get(kind, wild) for name, kind in offered.items()}
    best = max(liked.values(), default=0.0)
    first = [name for name, weight in liked.items() if weight == best and best > 0]
    return first[0] if len(first) == 1 else None
