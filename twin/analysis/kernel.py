"""Loops that numpy cannot say, compiled: sweeps over cells where each depends on the one before.

A module of kernels imports this one, and is itself imported only inside the function that needs it: the compiler takes
half a second to load. Machine code is kept beside the module, so that it is made once on a machine.
"""

from collections.abc import Callable
from typing import Any

import numba


def kernel[Function: Callable[..., Any]](function: Function) -> Function:
    """Compile at the first call; runs without the interpreter's lock. Arrays and numbers in and out, no objects."""
    compiled: Function = numba.njit(cache=True, nogil=True)(function)
    return compiled
