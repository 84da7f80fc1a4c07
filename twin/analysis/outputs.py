"""What an analysis may answer with beside JSON values: files. Rasters are Cloud Optimized GeoTIFF."""

from dataclasses import dataclass
from pathlib import Path

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
