"""A real Chromium for the viewer's own tests, and the toy city they look at."""

import importlib.util
import sys
from pathlib import Path

import pytest

from server import viewer


@pytest.fixture(scope="session")
def toy_city():
    """The module beside this file (tests are no package, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("toy_city", Path(__file__).with_name("toy_city.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def built_viewer():
    """The folder of the built viewer; builds it if its sources changed."""
    viewer.build()
    return viewer.DIST
