"""A headless Chromium that draws WebGL with the processor, for the tests that look at the viewer."""

import shutil

import pytest

FLAGS = [
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    # no first-run pages, and nothing that lets Chromium talk to its maker
    *("--no-sandbox", "--no-first-run", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
TIMEOUT_MS = 300_000  # software rendering on a busy machine; only a hang reaches it


def playwright():
    """Playwright's module and where Chromium is; the test is skipped where one of them is missing."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    module = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright")
    return module, executable


def launched(driver, executable):
    """The browser; the test is skipped where it does not start (no shared memory, no such processor)."""
    from playwright.sync_api import Error

    try:
        return driver.chromium.launch(executable_path=executable, args=FLAGS, timeout=TIMEOUT_MS)
    except Error as error:
        pytest.skip(f"Chromium does not start here: {str(error).splitlines()[0]}")


def opened_viewer(browser, address, size, **options):
    """A page on which the viewer is ready; what it asked for and complained about is kept on the page object."""
    page = browser.new_page(viewport=size, locale="en-GB", reduced_motion="reduce", **options)
    page.set_default_timeout(TIMEOUT_MS)
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(f"{address.rstrip('/')}/viewer/")
    page.wait_for_function("() => window.citytwin")
    assert page.evaluate("citytwin.ready.then(() => 'ready', error => String(error))") == "ready"
    return page
