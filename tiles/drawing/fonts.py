"""A font with Chinese glyphs, found without internet: on the system, or in an installed package of fonts.

Of free licence and widely packaged: Noto Sans CJK and its subset for China (SIL OFL), WenQuanYi (GPL with the font
exception), Droid Sans Fallback (Apache-2.0).
"""

import logging
import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LOG = logging.getLogger("citytwin.drawing")
NAMED_BY = "CITYTWIN_FONT"
"""Environment variable with the path of a font to be used instead."""
WANTED = (
    "notosanscjk-regular.ttc", "notosanscjksc-regular.otf", "notosanssc-regular.otf", "notosanssc-regular.ttf",
    "sourcehansanssc-regular.otf", "sourcehansanscn-regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "droidsansfallbackfull.ttf", "droidsansfallback.ttf", "msyh.ttc", "simhei.ttf", "pingfang.ttc",
)  # fmt: skip
FOLDERS = (
    "~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts", "C:/Windows/Fonts",
    "/System/Library/Fonts", "/Library/Fonts",
)  # fmt: skip
PACKAGES = ("pylopdf_fonts_zh_cn",)
"""Installed packages that carry such a font."""
MISSING = (
    "Labels are left out: no font with Chinese glyphs was found. Install one (Debian: fonts-noto-cjk or "
    f"fonts-wqy-microhei), or name one in {NAMED_BY}."
)


@lru_cache(maxsize=1)
def path() -> Path | None:
    """The best font there is, None where there is none (which is logged once)."""
    named = os.environ.get(NAMED_BY)
    if named and Path(named).is_file():
        return Path(named)
    found: dict[str, Path] = {}
    for folder in (*_packages(), *(Path(each).expanduser() for each in FOLDERS)):
        if folder.is_dir():
            for each in folder.rglob("*.[to]t[fc]"):
                found.setdefault(each.name.lower(), each)
    best = next((found[name] for name in WANTED if name in found), None)
    if best is None:
        LOG.warning(MISSING)
    return best


def _packages() -> list[Path]:
    specs = [find_spec(name) for name in PACKAGES]
    return [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]


@lru_cache(maxsize=32)
def of_size(size_px: float) -> Any | None:
    """The font in a size, for Pillow."""
    from PIL import ImageFont

    where = path()
    if where is None:
        return None
    try:
        return ImageFont.truetype(str(where), size_px)
    except OSError as error:
        LOG.warning("Labels are left out: %s cannot be read (%s, %s).", where.name, error, sys.platform)
        return None
