"""The ingest report of one source: counts in, counts stored, every issue, the placement certificate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layers.certificate import Certificate
from layers.crs import Bounds
from layers.issue import Issue, Reject

Status = Literal["stored", "partly", "parked", "removed"]


@dataclass
class LayerCount:
    """`n_read == n_stored + n_rejected + n_withheld` always holds. `n_stored` counts what this source has in the layer
    now, as it is or as it was edited by hand; `n_withheld` what was deleted by hand and therefore stays away.

    `certificate` is this layer's own placement: a file may hold layers in several systems. `bounds` is the box of what
    is stored, in the city's CRS.
    """

    layer: str
    name: str
    n_read: int = 0
    n_stored: int = 0
    n_rejected: int = 0
    n_inserted: int = 0
    n_updated: int = 0
    n_unchanged: int = 0
    n_closed: int = 0
    n_withheld: int = 0
    certificate: Certificate | None = None
    bounds: Bounds | None = None

    def widen(self, boxes: NDArray[np.float64]) -> None:
        """Let `bounds` hold (n, 4) boxes too; NaN is a feature without geometry."""
        own = np.array([(np.nan,) * 4 if self.bounds is None else self.bounds], np.float64)
        both = np.concatenate([own, np.asarray(boxes, np.float64).reshape(-1, 4)])
        low, high = np.fmin.reduce(both[:, :2]), np.fmax.reduce(both[:, 2:])
        if np.isfinite([*low, *high]).all():
            self.bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**vars(self), "certificate": self.certificate.to_dict() if self.certificate else None}


@dataclass
class Report:
    """What happened to one source. `stored`: all of it; `partly`: some rejected; `parked`: nothing, see `issues`.

    `rejects` are the first rejected features, all of them where `rejects_file` is empty; else that file, beside the
    report, holds the others, one JSON object a line.
    """

    source: str
    format: str
    sha256: str
    status: Status
    layers: list[LayerCount] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    certificate: Certificate | None = None
    seconds: float = 0.0
    rejects_file: str = ""

    def note_closed(self, closed: Mapping[str, int]) -> None:
        """Count the features that were closed, by layer id."""
        for layer_id, n in closed.items():
            counts = [count for count in self.layers if count.layer == layer_id]
            if not counts:
                counts = [LayerCount(layer_id, layer_id)]
                self.layers += counts
            counts[0].n_closed = n

    def to_dict(self) -> dict[str, Any]:
        """As the JSON object that `reports/*.json` holds."""
        return {
            "source": self.source,
            "format": self.format,
            "sha256": self.sha256,
            "status": self.status,
            "layers": [count.to_dict() for count in self.layers],
            "issues": [issue.to_dict() for issue in self.issues],
            "rejects": [reject.to_dict() for reject in self.rejects],
            "rejects_file": self.rejects_file,
            "certificate": self.certificate.to_dict() if self.certificate else None,
            "seconds": round(self.seconds, 3),
        }
