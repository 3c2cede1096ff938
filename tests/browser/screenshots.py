"""Write the pictures of the dashboard: `python -m tests.browser.screenshots docs/simulator`.

A client calls a service of three instances while one instance crashes and discovery has a fault. The dashboard is shown
on a screen of 1,280 pixels and on a phone. The last picture has several services, one of them a queue service.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import Browser, Page
from tests.browser.test_page import calling
from tests.needs import program
from tests.simulator.serving import Served

TOKEN = "t0ken-of-the-test"
SERVICE = "echo"
TICKS = 45


def main() -> None:
    """Write all pictures to the folder of the first argument."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch, Browser(program("Chromium"), Path(scratch) / "profile") as browser:
        arguments = (
            "--service",
            f"{SERVICE}=3",
            "--token",
            TOKEN,
            "--seed",
            "7",
            "--processing",
            "lognormal:0.004,0.05",
        )
        with Served(Path(scratch), *arguments) as served, calling(served, 150):
            page = browser.open(served.ready["admin_url"] + "/", width=1280, height=900)
            _story(served, page)
            page.shoot(folder / "page-light.png")
            page.prefer("dark")
            page.shoot(folder / "page-dark.png")
            page.prefer("light")
            page.run(f"document.querySelector(\".card[data-id='{SERVICE}-2']\").focus()")
            page.press("n")
            page.until("document.querySelector('#fault-dialog').open")
            page.shoot(folder / "page-fault.png")
            page.press("Escape")
            page.resize(375, 812)
            page.run("document.activeElement.blur(); scrollTo(0, 0)")
            _wait(page, 3)  # a card that was out of view is drawn at the next change after it is scrolled into view
            page.shoot(folder / "page-phone.png")
        _several(browser, Path(scratch), folder / "page-several.png")


def _several(browser: Browser, scratch: Path, picture: Path) -> None:
    services = [part for name in ("paint=2", "echo=3", "ranker=4", "mnist=2", "chat=3") for part in ("--service", name)]
    services += ["--queue-service", "paint"]
    (scratch / "several").mkdir()
    with Served(scratch / "several", *services, "--token", TOKEN, "--seed", "7") as served, calling(served, 60):
        page = browser.open(served.ready["admin_url"] + "/", width=1280, height=900)
        _wait(page, 20)
        slow = {"name": "slow-painting", "type": "slow", "attributes": {"factor": 1, "extra": 500}}
        served.admin("POST", "/v1/faults", {**slow, "target": {"service": "paint"}})
        for number in range(80):
            served.raw("POST", "/api/predict/paint", f"[{number}]".encode(), {"Authorization": TOKEN})
        served.patch("ranker", "ranker-1", state="crashed")
        _wait(page, 4)
        page.shoot(picture)


def _story(served: Served, page: Page) -> None:
    _wait(page, TICKS - 20)
    served.patch(SERVICE, f"{SERVICE}-1", state="crashed")
    served.patch(SERVICE, f"{SERVICE}-2", weight=200)
    _wait(page, 8)
    for fault in (
        {"name": "slow-answers", "type": "latency", "attributes": {"latency": 40, "jitter": 20}, "duration_s": 300},
        {"name": "overload", "type": "http_status", "attributes": {"code": 503}, "probability": 0.04},
    ):
        served.admin("POST", "/v1/faults", {**fault, "target": {"service": SERVICE, "instance": f"{SERVICE}-0"}})
    _wait(page, 6)
    page.click("[data-discovery-fault=empty_list]")
    _wait(page, 6)
    page.run("document.querySelector('#toasts').replaceChildren()")


def _wait(page: Page, ticks: int) -> None:
    page.until(f"world.last && (window.since ??= world.last.at) && world.last.at >= window.since + {ticks}")
    page.run(f"window.since = {json.dumps(None)} ?? world.last.at")


if __name__ == "__main__":
    main()
