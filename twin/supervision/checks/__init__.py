"""The checks of the three supervisions: a topic is a module here with `CHECKS`, a tuple of `check.Check`."""
