"""A real Chromium for the viewer's own tests, and the toy city they look at."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from server import viewer

# Software WebGL, no first-run pages, and nothing that lets Chromium talk to its maker.
CHROMIUM_FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="session")
def chromium():
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
