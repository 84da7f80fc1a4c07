"""Keeping the city: one narrow interface, GeoPackage as its first implementation."""
