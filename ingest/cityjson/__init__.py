"""CityJSON 1.0 to 2.0 and CityJSONSeq -> city objects, one object at a time."""
