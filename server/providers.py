"""The provider through which pygeoapi learns the fields of a layer.

Reading features goes around pygeoapi (`server.features`), so that pages stream, boxes are exact and unknown
parameters are refused; what pygeoapi needs for schemas, queryables and OpenAPI is here.
"""

from typing import Any

from pygeoapi.provider.base import BaseProvider

from layers.catalogue import Attribute, LayerType

JSON_TYPES: dict[str, dict[str, str]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}
OWN_FIELDS: dict[str, dict[str, Any]] = {
    "version": {"type": "integer", "readOnly": True},
    "valid_from": {"type": "string", "format": "date-time", "readOnly": True},
    "valid_to": {"type": "string", "format": "date-time", "readOnly": True},
}
"""What the store adds to every feature; readable, not filterable, not writable."""


def json_schema(attribute: Attribute) -> dict[str, Any]:
    """JSON Schema of one attribute: type, format, range."""
    schema: dict[str, Any] = dict(JSON_TYPES[attribute.type])
    if attribute.minimum is not None:
        schema["minimum"] = attribute.minimum
    if attribute.maximum is not None:
        schema["maximum"] = attribute.maximum
    if attribute.unit:
        schema["x-ogc-unit"] = attribute.unit
    return schema


class LayerProvider(BaseProvider):
    """A layer as pygeoapi sees it; `data` is the LayerType."""

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)
        self.layer_type: LayerType = provider_def["data"]
        self.get_fields()

    def get_fields(self) -> dict[str, dict[str, Any]]:
        """Attributes as JSON Schemas; a fresh copy, since pygeoapi writes into it."""
        self._fields = {"id": {"type": "string"}} | {
            attribute.name: json_schema(attribute) for attribute in self.layer_type.attributes
        }
        return self._fields
