"""Modules that make the sample town, one subject each."""
