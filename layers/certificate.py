"""The placement certificate: how a source got to its place, and how sure that is."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Method = Literal[
    "file-crs",  # the file names its CRS
    "given-crs",  # the CRS was given in city.toml or on the command line
    "map-conversion",  # IfcMapConversion + IfcProjectedCRS (or ePSet_MapConversion)
    "rigid-operation",  # IfcRigidOperation
    "site-lat-lon",  # IfcSite RefLatitude/RefLongitude/RefElevation
    "geocentric",  # a 3D Tiles set: its root transform leads to EPSG:4978
    "control-points",  # a fit from given point pairs
    "joined",  # a table whose rows take the places of features of another layer
    "none",  # not placeable: parked
]


@dataclass(frozen=True)
class Certificate:
    """What every placed source carries in its report.

    Attributes
    ----------
    method : where the georeference came from
    source_crs, source_vertical_crs : as read or given; None when unknown
    city_crs, city_vertical_crs : where it was put
    transformation : PROJ's description of the horizontal step, and the vertical step in words
    accuracy_m : stated accuracy of the transformation; None when nobody states one
    parameters : the numbers used (map conversion, height model …)
    contradictions : sentences, one for each disagreement found
    """

    method: Method
    source_crs: str | None = None
    source_vertical_crs: str | None = None
    city_crs: str | None = None
    city_vertical_crs: str | None = None
    transformation: str = ""
    accuracy_m: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)
