"""CityGML 1.0 to 3.0 -> city objects, streamed one member at a time."""
