r"""Text in filters: LIKE patterns (`%`, `_`, `\` escapes) case and accents folded (OGC 21-065r2, 7.2-7.5)."""

from collections.abc import Callable

from layers.errors import InvalidInput
from twin.store.sql_functions import accenti, casei
from twin.store.sql_term import Term, joined, literal, typed

FOLDS: dict[str, Callable[[str | None], str | None]] = {"casei": casei, "accenti": accenti}


def like(value: Term, pattern: Term) -> Term:
    """`value LIKE pattern`, which minds case."""
    value = typed(value, "string")
    if value.kind not in {"string", "null"} or not isinstance(pattern.literal, str) or pattern.kind != "string":
        raise InvalidInput("LIKE in the filter compares text with a pattern in quotes.", "Example: name LIKE '%桥%'.")
    return joined("({} GLOB {})", "boolean", value, literal(glob(pattern.literal)))


def folded(operator: str, inner: Term) -> Term:
    """CASEI or ACCENTI of text."""
    inner = typed(inner, "string")
    if isinstance(inner.literal, str) and inner.kind == "string":
        return literal(FOLDS[operator](inner.literal))
    if inner.kind not in {"string", "null"}:
        raise InvalidInput(f"{operator.upper()} in the filter takes text, not a {inner.kind}.")
    return inner.then(f"citytwin_{operator}({{}})", "string")


def folded_pattern(operator: str, pattern: str) -> str:
    """A LIKE pattern with its letters folded and its wildcards as they are, also where folding would make new ones."""
    out = ""
    for text, is_wild in _pieces(pattern):
        folded_text = text if is_wild else "".join(
            f"\\{c}" if c in "%_\\" else c for c in FOLDS[operator](text) or ""
        )  # fmt: skip
        out += folded_text
    return out


def glob(pattern: str) -> str:
    """A LIKE pattern as an SQLite GLOB pattern, which minds case as CQL2 does."""
    out = ""
    for text, is_wild in _pieces(pattern):
        if is_wild:
            out += "*" if text == "%" else "?"
        else:
            out += "".join(f"[{c}]" if c in "*?[" else c for c in text)
    return out


def _pieces(pattern: str) -> list[tuple[str, bool]]:
    """Runs of plain text, unescaped, and single wildcards."""
    pieces: list[tuple[str, bool]] = []
    plain, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            at += 1
            plain += pattern[at]
        elif character in "%_":
            pieces += [(plain, False), (character, True)]
            plain = ""
        else:
            plain += character
        at += 1
    return [*pieces, (plain, False)]
