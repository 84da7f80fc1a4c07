"""A font with Chinese glyphs for the PDF, found without internet: named, in an installed package, or on the system."""

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

NAMED_BY = "CITYTWIN_FONT"
"""Environment variable with the path of a font to be used instead, as for maps."""
WANTED = (
    "notosanssc-regular.otf", "notosanssc-regular.ttf", "notosanscjksc-regular.otf", "notosanscjk-regular.ttc",
    "sourcehansanssc-regular.otf", "sourcehansanscn-regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "droidsansfallbackfull.ttf", "droidsansfallback.ttf", "simhei.ttf", "msyh.ttc", "pingfang.ttc",
)  # fmt: skip
FOLDERS = (
    "~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts", "C:/Windows/Fonts",
    "/System/Library/Fonts", "/Library/Fonts",
)  # fmt: skip
PACKAGES = ("pylopdf_fonts_zh_cn",)
MISSING = (
    "No font with Chinese glyphs was found.",
    f"Install one (Debian: fonts-wqy-microhei or fonts-noto-cjk), name it in {NAMED_BY}, or take HTML or English.",
)


@lru_cache(maxsize=1)
def path() -> Path | None:
    """The best font there is; None where there is none."""
    named = os.environ.get(NAMED_BY)
    if named and Path(named).is_file():
        return Path(named)
    specs = [find_spec(name) for name in PACKAGES]
    packages = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    found: dict[str, Path] = {}
    for folder in (*packages, *(Path(each).expanduser() for each in FOLDERS)):
        if folder.is_dir():
            for each in sorted(folder.rglob("*.[to]t[fc]")):
                found.setdefault(each.name.lower(), each)
    return next((found[name] for name in WANTED if name in found), None)
