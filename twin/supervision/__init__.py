"""Supervision: rules as data, checks that hold them against the city, findings that are kept.

`rules` reads what must hold, `check` is one topic's look at a place, `engine` runs the checks of a supervision and
`finding` keeps what they found.
"""
