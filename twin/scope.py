"""Who is asking: the required argument of every read, so that access control cannot be forgotten by one endpoint."""

from dataclasses import dataclass

from layers.errors import LayerNotFound


@dataclass(frozen=True)
class Scope:
    """What one asker may see.

    Attributes
    ----------
    name : who, for the log
    layers : ids that may be read; None means all of them
    """

    name: str
    layers: frozenset[str] | None = None

    def allows(self, layer_id: str) -> bool:
        """True if the layer may be read."""
        return self.layers is None or layer_id in self.layers

    def require(self, layer_id: str) -> None:
        """Raise LayerNotFound for a layer outside the scope: what may not be read does not exist."""
        if not self.allows(layer_id):
            raise LayerNotFound(layer_id, sorted(self.layers or ()))


EVERYTHING = Scope("everything")
"""For the owner of the twin's folder: scripts and the build."""
