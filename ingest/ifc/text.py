r"""IFC text with raw bytes beyond ASCII, rewritten with the escapes of ISO 10303-21 before it is parsed.

The parser drops such bytes in silence: a wall named in raw UTF-8 or GBK came back without a name. Here each run becomes
`\X2\....\X0\` (ISO 10303-21:2016, 6.4.3.3). Line numbers stay as they were.
"""

import codecs
import re
from pathlib import Path

from ingest.ifc.file import Scratch, Unpacked
from layers.errors import InvalidInput
from layers.issue import Issue

BLOCK = 1 << 20
GUESSES = ("gb18030", "cp932", "cp1252")
"""What programs write instead of the UTF-8 that edition 3 of the standard asks for: Chinese, Japanese, Western."""

_BEYOND = re.compile(r"[^\x00-\x7f]+")
_RAW = re.compile(rb"[^\x00-\x7f]+")
_JUDGED = 200_000


def to_escapes(source: Unpacked, name: str, encoding: str | None) -> tuple[Unpacked, list[Issue]]:
    """The same file when it is pure ASCII, else a temporary copy in escapes. Raises InvalidInput.

    `encoding` goes before the guesses; UTF-8 is no guess, because other encodings are hardly ever valid UTF-8. Of the
    guesses that decode the whole file, the one whose characters are the most usual ones in it (`likeness`) is taken.
    """
    if _is_ascii(source.path):
        return source, []
    tried = list(dict.fromkeys([*([encoding] if encoding else []), "utf-8", *_by_likeness(source.path)]))
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


def _by_likeness(path: Path) -> list[str]:
    return sorted(GUESSES, key=lambda each: -likeness(_strings(path), each))


def _strings(path: Path) -> bytes:
    """The lines that have raw bytes, up to a limit."""
    found, size = [], 0
    with path.open("rb") as file:
        while size < _JUDGED and (line := file.readline(BLOCK)):
            if not line.isascii():
                found.append(line)
                size += len(line)
    return b"".join(found)


def likeness(raw: bytes, encoding: str) -> float:
    """Share of usual characters when raw text is read this way; -1 where it cannot be.

    Usual are the first level of GB 2312 for `gb18030`, kana and the first level of JIS X 0208 for `cp932` (halfwidth
    kana are not), both with their punctuation, and single accented letters beside ASCII letters for `cp1252`.
    """
    if encoding == "cp1252":
        runs = [match for match in _RAW.finditer(raw) if len(match[0]) <= 2]
        n_words = sum(min(match[0]) >= 0xC0 and _is_in_word(raw, match) for match in runs)
        return n_words / max(1, sum(1 for _ in _RAW.finditer(raw)))
    try:
        text = "".join(_BEYOND.findall(raw.decode(encoding)))
    except UnicodeDecodeError:
        return -1.0
    leads = [(each.encode(encoding) + b"\0")[:2] for each in text]
    if encoding == "cp932":
        return sum(0x81 <= lead <= 0x83 or 0x88 <= lead <= 0x97 for lead, _ in leads) / max(1, len(leads))
    return sum((0xA1 <= lead <= 0xA3 or 0xB0 <= lead <= 0xD7) and trail >= 0xA1 for lead, trail in leads) / max(
        1, len(leads)
    )


def _is_in_word(raw: bytes, match: re.Match[bytes]) -> bool:
    beside = raw[max(0, match.start() - 1) : match.start()] + raw[match.end() : match.end() + 1]
    return any(bytes([each]).isalpha() for each in beside)


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
            writing.write(escaped(decoder.decode(block)))
        writing.write(escaped(decoder.decode(b"", final=True)))


def escaped(text: str) -> bytes:
    """Text as the bytes of a STEP file."""
    return _BEYOND.sub(lambda run: _escape(run[0]), text).encode("ascii")


def _escape(run: str) -> str:
    wide = max(map(ord, run)) > 0xFFFF
    coded = run.encode("utf-32-be" if wide else "utf-16-be").hex().upper()
    return f"\\X{4 if wide else 2}\\{coded}\\X0\\"
