"""What an analysis says of itself: enough for an OGC API process description (OGC 18-062r2, 7.10) and a form."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from layers.catalogue import Title


@dataclass(frozen=True)
class Parameter:
    """An input or output: title, JSON schema (with the unit in `x-unit`), and whether it must be given."""

    title: Title
    schema: dict[str, Any]
    required: bool = True


@dataclass(frozen=True)
class Process:
    """One analysis.

    Attributes
    ----------
    id : in addresses and commands, for example `buffer-query`
    title, description : Chinese and English
    inputs, outputs : by name
    function : called with the city and the inputs by name; returns a JSON object with the outputs
    version : of the definition, raised when answers change
    """

    id: str
    title: Title
    description: Title
    inputs: dict[str, Parameter]
    outputs: dict[str, Parameter]
    function: Callable[..., dict[str, Any]]
    version: str = "1.0.0"
    keywords: tuple[str, ...] = field(default_factory=tuple)

    def inputs_schema(self) -> dict[str, Any]:
        """JSON schema of all inputs as one object; unknown names are refused."""
        return {
            "type": "object",
            "properties": {name: each.schema for name, each in self.inputs.items()},
            "required": [name for name, each in self.inputs.items() if each.required],
            "additionalProperties": False,
        }
