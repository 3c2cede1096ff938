"""Controls a headless Chromium through the DevTools protocol over two pipes, without a driver program or a port.

`Browser` is the process and `Page` is one tab. `Page` records errors, exceptions and network requests of the page, so
that a test can assert that there were none.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time  # noqa: TID251  the bound on a wait for another process
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--mute-audio",
)

_LOOK_EVERY_S = 0.02
_OR_FALSE = "(() => { try { return (%s) } catch { return false } })()"
_MIDDLE = """(() => {
  const element = document.querySelector(%s);
  element.scrollIntoView({block: "center", behavior: "instant"});
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""


class Browser:
    """A Chromium process with a new profile.

    Args:
        program: Path of the Chromium executable.
        profile: Empty folder for the profile.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self._program = program
        self._profile = profile
        self._number = 0
        self._buffer = b""
        self._events: dict[str, deque[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads commands from descriptor 3 and writes replies to descriptor 4. A shell moves the pipes there.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [self._program, *_FLAGS, *sandbox, f"--user-data-dir={self._profile}", "about:blank"]
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(  # noqa: S603
            ["/bin/bash", "-c", script, "chromium", *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._profile)},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.command("Browser.close")
            self.process.wait(PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(PATIENCE_S)
            os.close(self._in)
            os.close(self._out)

    def open(self, url: str, *, width: int = 1440, height: int = 900, scheme: str = "light", script: str = "") -> Page:
        """Open a new tab and load a URL.

        Args:
            url: The URL to load.
            width: Width of the window, in CSS pixels.
            height: Height of the window, in CSS pixels.
            scheme: Preferred colour scheme, `light` or `dark`.
            script: JavaScript that runs before the page's scripts.
        """
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        page.begin(url, width, height, scheme, script)
        return page

    def command(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raise `AssertionError` if Chromium reports an error."""
        answer = self.answer(method, session, **parameters)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]  # type: ignore[no-any-return]

    def answer(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its reply, with a `result` or an `error`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                return answer

    def events(self, session: str) -> list[dict[str, Any]]:
        """Return the events that a tab has reported so far."""
        return list(self._events.get(session, ()))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE_S)
            assert ready, "Chromium says nothing"
            data = os.read(self._in, 2**20)
            assert data, "Chromium is gone"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._events.setdefault(message.get("sessionId", ""), deque(maxlen=5000)).append(message)
        return message


class Page:
    """One tab of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def begin(self, url: str, width: int, height: int, scheme: str, script: str) -> None:
        """Load a URL on a screen of the given size."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")
        self.resize(width, height)
        self.prefer(scheme)
        if script:
            self.do("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.do("Page.navigate", url=url)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol for this tab, and return its result."""
        return self._browser.command(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the screen."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        """Set the preferred colour scheme, `light` or `dark`, and switch off animations."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self.do("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in features.items()])

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Evaluate an expression until it is true, and return its value.

        Raises:
            AssertionError: The expression was not true within `PATIENCE_S`.
        """
        ends = time.monotonic() + PATIENCE_S
        while True:
            answer = self._browser.answer(
                "Runtime.evaluate", self._session, expression=_OR_FALSE % expression, returnByValue=True
            )
            if value := answer.get("result", {}).get("result", {}).get("value"):
                return value
            assert time.monotonic() < ends, f"never true: {expression}"
            time.sleep(_LOOK_EVERY_S)  # Chromium sends no event when an expression becomes true

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.run(_MIDDLE % json.dumps(selector))
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
        codes |= {"ArrowDown": 40}
        code = codes.get(key, ord(key[0].upper()))
        shown = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        self.do("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=shown)
        self.do("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Type text into the focused element."""
        self.do("Input.insertText", text=text)

    def shoot(self, path: Path, *, whole: bool = False) -> None:
        """Write a screenshot in PNG format to a file; with `whole`, of the whole page and not only of the window."""
        image = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(image))

    def close(self) -> None:
        """Close the tab."""
        self._browser.command("Target.closeTarget", targetId=self._target)

    @property
    def complaints(self) -> list[str]:
        """Return the exceptions, errors and warnings that the page has reported."""
        found = []
        for event in self._browser.events(self._session):
            if event["method"] == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"].get("exception", {}).get("description", "thrown"))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(str(event["params"]["args"]))
        return found

    @property
    def asked(self) -> list[str]:
        """Return the URLs that the page has requested."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events(self._session)
            if event["method"] == "Network.requestWillBeSent"
        ]
