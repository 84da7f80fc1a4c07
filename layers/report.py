"""The ingest report of one source: counts in, counts stored, every issue, the placement certificate."""

from dataclasses import dataclass, field
from typing import Any, Literal

from layers.certificate import Certificate
from layers.issue import Issue, Reject

Status = Literal["stored", "partly", "parked", "removed"]


@dataclass
class LayerCount:
    """`n_read == n_stored + n_rejected` always holds. `n_stored` counts what this source has in the layer now."""

    layer: str
    name: str
    n_read: int = 0
    n_stored: int = 0
    n_rejected: int = 0
    n_inserted: int = 0
    n_updated: int = 0
    n_unchanged: int = 0
    n_closed: int = 0


@dataclass
class Report:
    """What happened to one source. `stored`: all of it; `partly`: some rejected; `parked`: nothing, see `issues`."""

    source: str
    format: str
    sha256: str
    status: Status
    layers: list[LayerCount] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    certificate: Certificate | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As the JSON object that `reports/*.json` holds."""
        return {
            "source": self.source,
            "format": self.format,
            "sha256": self.sha256,
            "status": self.status,
            "layers": [vars(count) for count in self.layers],
            "issues": [issue.to_dict() for issue in self.issues],
            "rejects": [reject.to_dict() for reject in self.rejects],
            "certificate": self.certificate.to_dict() if self.certificate else None,
            "seconds": round(self.seconds, 3),
        }
