"""Marks tests with the abstract tests of a standard that they carry out."""

COVERED: dict[str, list[str]] = {}


def ats(*identifiers):
    def mark(function):
        for each in identifiers:
            COVERED.setdefault(each, []).append(function.__name__)
        return function

    return mark
