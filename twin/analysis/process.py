"""What an analysis says of itself: enough for an OGC API process description (OGC 18-062r2, 7.10) and a form."""

import base64
import binascii
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City

JSON = "application/json"


@dataclass(frozen=True)
class Parameter:
    """An input or output.

    Attributes
    ----------
    title : Chinese and English
    schema : JSON schema of one value, with the unit in `x-unit`; bytes are strings with `contentEncoding: base64`
    required : must it be given
    description : more than the title says
    max_occurs : more than 1 means that a list of values may be given; the function always gets a list then
    media_type : of an output that is not JSON: GeoJSON, or that of its `outputs.File`
    """

    title: Title
    schema: dict[str, Any]
    required: bool = True
    description: Title | None = None
    max_occurs: int = 1
    media_type: str = JSON

    @property
    def unit(self) -> str:
        """UCUM symbol of the value; empty where it has none."""
        return str(self.schema.get("x-unit", ""))

    @property
    def is_binary(self) -> bool:
        """Whether the function gets bytes."""
        return "contentEncoding" in self.schema

    def given_schema(self) -> dict[str, Any]:
        """Schema of what may be given: one value, or a list where several are possible."""
        if self.max_occurs == 1:
            return self.schema
        return {"type": "array", "items": self.schema, "minItems": int(self.required), "maxItems": self.max_occurs}


@dataclass(frozen=True)
class Process:
    """One analysis.

    Attributes
    ----------
    id : in addresses and commands, for example `buffer-query`
    title, description : Chinese and English
    inputs, outputs : by name
    function : called with the city and the inputs by name; returns the outputs by name: JSON values, numpy arrays, or
        `outputs.File`. If it has a keyword argument `progress` it gets a `progress.Progress`, which it calls often
    version : of the definition, raised when answers change
    is_quick : answers within milliseconds to a second on a million features: the server runs it in a thread of its own.
        Anything else runs in a worker process
    metadata : links to what explains it: {"title", "role", "href"}
    writes : inputs that, given (and not false), change the city: `keep_as` always does. The server lets only those ask
        for it who may edit
    """

    id: str
    title: Title
    description: Title
    inputs: dict[str, Parameter]
    outputs: dict[str, Parameter]
    function: Callable[..., dict[str, Any]]
    version: str = "1.0.0"
    keywords: tuple[str, ...] = field(default_factory=tuple)
    is_quick: bool = False
    metadata: tuple[Mapping[str, str], ...] = ()
    writes: tuple[str, ...] = ()

    def writing(self, inputs: Mapping[str, Any]) -> str | None:
        """The first input that asks to change the city; None where none does."""
        names = (*self.writes, *(name for name in ("keep_as",) if name in self.inputs))
        return next((name for name in names if inputs.get(name) not in (None, False)), None)

    def inputs_schema(self) -> dict[str, Any]:
        """JSON schema of all inputs as one object; unknown names are refused."""
        return {
            "type": "object",
            "properties": {name: each.given_schema() for name, each in self.inputs.items()},
            "required": [name for name, each in self.inputs.items() if each.required],
            "additionalProperties": False,
        }

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self.inputs_schema())

    @cached_property
    def takes_progress(self) -> bool:
        """Whether the function tells how far it is."""
        return "progress" in inspect.signature(self.function).parameters

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as the schema wants them, one value of a list as a list. InvalidInput names the one at fault."""
        given = {
            name: [value] if name in self.inputs and self.inputs[name].max_occurs > 1 and not isinstance(value, list)
            else value for name, value in inputs.items()
        }  # fmt: skip
        errors = sorted(self._validator.iter_errors(given), key=lambda each: list(map(str, each.path)))
        if errors:
            where = "/".join(map(str, errors[0].path)) or "inputs"
            takes = f"It takes {', '.join(self.inputs)}." if self.inputs else "It takes none."
            raise InvalidInput(f"{self.id}: {where}: {errors[0].message[:300]}.", takes)
        for name, value in given.items():
            if any(isinstance(each, float) and not isfinite(each) for each in _flat(value)):
                raise InvalidInput(
                    f"{self.id}: {name}: NaN and infinity are no numbers.", "Leave out what is not known."
                )
        return given

    def run(self, city: "City", inputs: Mapping[str, Any], *, progress: Progress = SILENT) -> dict[str, Any]:
        """Check the inputs and call the function. Outputs are named as declared; one that is absent has no value."""
        given = self.checked(inputs)
        for name in [name for name in given if self.inputs[name].is_binary]:
            given[name] = _bytes(name, given[name])
        if self.takes_progress:
            return self.function(city, **given, progress=progress)
        return self.function(city, **given)


def _flat(value: Any) -> Iterator[Any]:
    """The values of an input and of lists and objects within; coordinates of GeoJSON are looked at where it is read."""
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, Mapping):
        if "coordinates" not in value and "features" not in value and "geometry" not in value:
            yield from _flat(list(value.values()))
    else:
        yield value


def _bytes(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(name, each) for each in value]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{name} is not base64: {error}.", "Encode the bytes as base64, without line breaks.") from (
            error
        )
