"""The browser in which tests look at pages."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver

MISSING = "The tests of pages need a browser: apt-get install chromium chromium-driver"


@contextmanager
def headless_chromium() -> Iterator[webdriver.Chrome]:
    """A Chromium without a window, which keeps what its console says and what it requests."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


def requested(browser) -> set[str]:
    """What pages have requested since the last call, but data that they hold themselves."""
    events = (json.loads(line["message"])["message"] for line in browser.get_log("performance"))
    urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith("data:")}
