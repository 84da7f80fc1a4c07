"""Web Feature Service 2.0.0 and 1.1.0, read only: a thin face of `/items` for older clients."""

from server.wfs.service import face

__all__ = ["face"]
