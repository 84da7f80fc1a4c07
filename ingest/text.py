"""Text files of unknown encoding: told, else by its byte-order mark, else UTF-8, else GB18030 — and said which."""

import codecs
from pathlib import Path

from layers.errors import InvalidInput
from layers.issue import Issue

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BLOCK = 1 << 20


def encoding(path: Path, told: str | None, name: str) -> tuple[str, list[Issue]]:
    """Codec in which the whole file decodes, read in blocks. Raises InvalidInput when none does.

    An info issue says which one when it is neither told nor UTF-8.
    """
    with path.open("rb") as file:
        head = file.read(4)
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if told is not None:
        if told.lower().replace("_", "-") in {"utf-8", "utf8"} and marked == "utf-8-sig":
            told = marked
        if _decodes(path, told):
            return told, []
        raise InvalidInput(f"{name} is not {told}.", "Correct `encoding` in city.toml.", code="ENCODING_WRONG")
    for codec in [marked] if marked else ["utf-8", "gb18030"]:
        if _decodes(path, codec):
            found = [] if codec != "gb18030" else [_detected(name, codec)]
            return codec, found
    raise InvalidInput(
        f"{name} is neither UTF-8 nor GB18030.", "Give `encoding` in city.toml.", code="ENCODING_UNKNOWN"
    )


def _detected(name: str, codec: str) -> Issue:
    message = f"The text is read as {codec}: it is not UTF-8."
    return Issue("ENCODING_DETECTED", name, message, "If names look wrong, give `encoding` in city.toml.", "info")


def _decodes(path: Path, codec: str) -> bool:
    try:
        decoder = codecs.getincrementaldecoder(codec)()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except (UnicodeDecodeError, LookupError):
        return False
    return True
