"""A headless Chromium for pages of this machine, for the pictures and for the tests.

Covers starting one with a fresh profile, waiting for what has to be on a page, pictures of
pages, and which hosts a page asked for. The browser can reach 127.0.0.1 and nothing else, so
what it looks at works without a network, or is seen not to.
"""

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds to wait for a thing on a page; a busy machine is slow to draw."""

STILL = 3
"""Equal pictures in a row after which a drawing counts as finished."""

MARGIN = 20
"""Pixels below the last thing on a picture."""

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers have none to offer; nothing but our own pages is opened
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # the run graph is drawn with WebGL
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class BrowserMissing(Exception):
    """There is no browser, or nothing to drive it with; the message says what to install."""


class NotOnThePage(Exception):
    """What has to be on a page is not there; the message says what and where."""


@contextlib.contextmanager
def browser(width: int = 1400, height: int = 900) -> "Iterator[Browser]":
    """Start a browser with a fresh profile, and end it.

    Raises:
        BrowserMissing: Chromium, its driver or selenium is not installed.
    """
    try:
        from selenium import webdriver
    except ImportError as error:
        raise BrowserMissing("selenium is not installed: pip install -e '.[test]'") from error
    binary = _found("chromium", "chromium-browser", "google-chrome")
    driver_binary = _found("chromedriver")
    os.environ["SE_OFFLINE"] = "true"  # selenium downloads no driver and reports nothing
    os.environ["SE_AVOID_STATS"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with tempfile.TemporaryDirectory(
        prefix="noctuary-browser-", ignore_cleanup_errors=True
    ) as profile:
        for option in (*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_binary))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


class Browser:
    """One window of a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._page = ""

    def open(self, address: str) -> None:
        self._page = address
        self.driver.get(address)

    def wait_for(self, selector: str, text: str = "") -> Any:
        """Wait for an element; return the first that is visible and holds the text.

        Raises:
            NotOnThePage: there is none in time.
        """

        def found() -> Any:
            for element in self.driver.find_elements("css selector", selector):
                if element.is_displayed() and text in element.text:
                    return element
            return None

        what = f"an element {selector!r}" + (f" with {text!r}" if text else "")
        return self._wait(found, what)

    def wait_for_text(self, text: str) -> None:
        """Wait for words anywhere on the page.

        Raises:
            NotOnThePage: they do not come.
        """
        self._wait(lambda: text in self.text, f"the words {text!r}")

    def wait_for_image(self, selector: str) -> Any:
        """Wait for an image with something in it; return its element."""
        image = self.wait_for(selector)
        loaded = "return arguments[0].complete && arguments[0].naturalWidth > 0"
        self._wait(lambda: self.driver.execute_script(loaded, image), f"the image {selector!r}")
        return image

    def wait_for_answer(self, part: str) -> None:
        """Wait until the page has had an answer from an address that contains the part."""
        script = (
            "return performance.getEntriesByType('resource')"
            ".some(e => e.name.includes(arguments[0]) && e.responseEnd > 0)"
        )
        self._wait(lambda: self.driver.execute_script(script, part), f"the answer of {part!r}")

    def wait_until_still(self, element: Any) -> None:
        """Wait until a drawing (a canvas, of whose inside nothing is known) changes no more."""
        seen: list[bytes] = []

        def still() -> bool:
            seen.append(element.screenshot_as_png)
            time.sleep(0.4)
            return len(seen) > STILL and len(set(seen[-STILL:])) == 1

        self._wait(still, "a finished drawing")

    def picture_of(self, selector: str, until: str | None = None) -> bytes:
        """Return a PNG of the part of an element that is in the window.

        Args:
            until: what the picture ends below, where that is higher up.
        """
        area = self.script(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [Math.max(0, r.left), Math.max(0, r.top), r.width,"
            " Math.min(r.bottom, innerHeight) - Math.max(0, r.top)]",
            selector,
        )
        if until is not None:
            end = self.script(
                "return document.querySelector(arguments[0]).getBoundingClientRect().bottom", until
            )
            area[3] = min(area[3], end + MARGIN - area[1])
        clip = dict(zip(("x", "y", "width", "height"), area, strict=True), scale=1)
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
        return base64.b64decode(shot["data"])

    @property
    def text(self) -> str:
        return str(self.driver.find_element("css selector", "body").text)

    def script(self, source: str, *arguments: Any) -> Any:
        return self.driver.execute_script(source, *arguments)

    def hosts(self) -> set[str]:
        """Return the hosts that pages opened since the last call asked for, reached or not."""
        asked = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            about = message.get("params", {})
            if message["method"] == "Network.requestWillBeSent":
                address = about["request"]["url"]
            elif message["method"] == "Network.webSocketCreated":
                address = about["url"]
            else:
                continue
            parts = urlsplit(address)
            # the browser's own start page and inline data go nowhere
            if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname:
                asked.add(parts.hostname)
        return asked

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException

        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(StaleElementReferenceException):  # drawn anew meanwhile
                if result := condition():
                    return result
            time.sleep(0.1)
        raise NotOnThePage(f"{self._page} does not show {what} within {PATIENCE:.0f} s")


def _found(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise BrowserMissing(
        f"{names[0]} is not installed: apt-get install chromium chromium-driver, or the like"
    )
