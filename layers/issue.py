"""What is wrong with a source without stopping the work: issues, and rejected features with their content."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Issue:
    """One finding about a source.

    Attributes
    ----------
    code : upper-case identifier, for example `CRS_MISSING` or `IFC_NO_SHAPE`
    where : place inside the file: a line, a JSON path, a feature id, a GlobalId
    message : one sentence with the value in it
    hint : the next step
    severity : `error` means something was parked or rejected (the build exits 1), `warning` that the user should
        look, `info` that something was decided for the user and is written down
    """

    code: str
    where: str
    message: str
    hint: str = ""
    severity: Severity = "warning"

    def to_dict(self) -> dict[str, str]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Reject:
    """One feature that was not stored, with its original content, so that nothing is lost."""

    code: str
    where: str
    message: str
    content: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)
