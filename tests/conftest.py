"""What holds for all tests: on a build server the same random examples every time; one way to a browser."""

import os

import pytest
from hypothesis import settings

from tests import browser, stores

stores.watch()

settings.register_profile("build-server", derandomize=True, deadline=None)
settings.register_profile("developer", deadline=None)
settings.load_profile("build-server" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="module")
def chromium():
    """A browser for one module: Playwright's loop must end before another one starts."""
    module, executable = browser.playwright()
    with module.sync_playwright() as driver:
        launched = browser.launched(driver, executable)
        yield launched
        launched.close()
