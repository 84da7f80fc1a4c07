"""The few exceptions of the house. Each message is a sentence with the value in it and the next step."""

from difflib import get_close_matches


class CityTwinError(Exception):
    """Base class. `problem` says what is wrong, with the value; `hint` says what to do next."""

    def __init__(self, problem: str, hint: str = "", *, code: str = "") -> None:
        super().__init__(f"{problem} {hint}".strip())
        self.problem = problem
        self.hint = hint
        self.code = code or type(self).__name__


class InvalidInput(CityTwinError):
    """The data or the argument is wrong; trying again unchanged cannot help."""


class CrsMissing(InvalidInput):
    """A source does not say in which coordinate reference system it is."""


class Unplaceable(InvalidInput):
    """A source cannot be put in its true place; it is parked, never put at 0, 0."""


class Conflict(CityTwinError):
    """Something was changed by someone else in the meantime; read it again."""


class Busy(CityTwinError):
    """Someone else holds what is needed; the same again a little later may do."""


class NotFound(CityTwinError):
    """A name or an address that does not exist."""


class LayerNotFound(NotFound):
    """No layer of that name; the message offers the nearest one."""

    def __init__(self, name: str, known: list[str]) -> None:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known)) or 'none'}."
        super().__init__(f"No layer {name!r}.", hint)
