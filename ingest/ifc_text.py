r"""IFC text with raw bytes beyond ASCII, rewritten with the escapes of ISO 10303-21 before it is parsed.

The parser drops such bytes in silence: a wall named in raw UTF-8 or GBK came back without a name. Here each run becomes
`\X2\....\X0\` (ISO 10303-21:2016, 6.4.3.3). Line numbers stay as they were.
"""

import codecs
import re
from pathlib import Path

from ingest.ifc_file import Scratch, Unpacked
from layers.errors import InvalidInput
from layers.issue import Issue

BLOCK = 1 << 20
GUESSES = ("utf-8", "gb18030")
"""UTF-8 is what edition 3 of the standard asks for; GB 18030 is what Chinese programs write instead."""

_BEYOND = re.compile(r"[^\x00-\x7f]+")


def to_escapes(source: Unpacked, name: str, encoding: str | None) -> tuple[Unpacked, list[Issue]]:
    """The same file when it is pure ASCII, else a temporary copy in escapes. Raises InvalidInput.

    `encoding` goes before the guesses; UTF-8 is no guess, because other encodings are hardly ever valid UTF-8.
    """
    if _is_ascii(source.path):
        return source, []
    tried = list(dict.fromkeys([*([encoding] if encoding else []), *GUESSES]))
    folder = Scratch()
    target = folder.path / "model.ifc"
    for each in tried:
        try:
            _rewrite(source.path, target, each)
        except (UnicodeDecodeError, LookupError):
            continue
        message = f"{name} has raw bytes beyond ASCII; they were read as {each}."
        sure = each in {encoding, "utf-8"}
        hint = (
            ""
            if sure
            else f"If names look wrong, give `encoding` for this file in city.toml (tried: {', '.join(tried)})."
        )
        return Unpacked(target, folder), [Issue("IFC_ENCODING", name, message, hint, "info" if sure else "warning")]
    raise InvalidInput(
        f"{name} has raw bytes beyond ASCII that are not {' nor '.join(tried)}.",
        "Give `encoding` for this file in city.toml, or export it again.",
        code="IFC_ENCODING",
    )


def _is_ascii(path: Path) -> bool:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if not block.isascii():
                return False
    return True


def _rewrite(source: Path, target: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(BLOCK):
            writing.write(_escaped(decoder.decode(block)))
        writing.write(_escaped(decoder.decode(b"", final=True)))


def _escaped(text: str) -> bytes:
    return _BEYOND.sub(lambda run: _escape(run[0]), text).encode("ascii")


def _escape(run: str) -> str:
    wide = max(map(ord, run)) > 0xFFFF
    coded = run.encode("utf-32-be" if wide else "utf-16-be").hex().upper()
    return f"\\X{4 if wide else 2}\\{coded}\\X0\\"
