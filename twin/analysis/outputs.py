"""What an analysis may answer with beside JSON values: files. Rasters are Cloud Optimized GeoTIFF."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class File:
    """A file as the value of an output.

    Attributes
    ----------
    path : made with `Progress.file`, so that it lies where the runner wants it
    media_type : as the output's `Parameter.media_type` says
    """

    path: Path
    media_type: str = COG


def as_json(value: Any) -> Any:
    """For `json.dumps(default=…)`: a file as its path."""
    if isinstance(value, File):
        return {"path": str(value.path), "type": value.media_type}
    return str(value)
