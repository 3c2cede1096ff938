"""The dashboard in a real Chromium, with a real simulator and a real client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Browser, Page
from tests.needs import program
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

SERVICE = "echo"
CLIENT = Path(__file__).with_name("client.py")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(program("Chromium"), tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path, "--service", f"{SERVICE}=3", "--token", "t0ken-of-the-test", "--seed", "7") as running:
        yield running


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """Load the page. At the end, assert that it had no error, no request to another host, and no visible token."""
    opened = browser.open(served.ready["admin_url"] + "/")
    opened.until(
        "document.querySelectorAll('.card').length === 3 && document.querySelectorAll('[data-discovery-fault]').length"
    )
    opened.run(_KEEP_TOASTS)
    yield opened
    assert opened.complaints == []
    assert [url for url in opened.asked if not url.startswith((served.ready["url"], "data:"))] == []
    assert "t0ken" not in opened.run("document.documentElement.outerHTML")
    opened.close()


@contextmanager
def calling(served: Served, rate: float) -> Iterator[dict[str, Any]]:
    """Run a client in a subprocess. After the block, the yielded dict has the results of the client."""
    command = [sys.executable, str(CLIENT), served.ready["url"], SERVICE, "t0ken-of-the-test", str(rate)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, env=environment(), **pipes)  # type: ignore[call-overload]  # noqa: S603
    assert process.stdout.readline() == "calling\n"
    account: dict[str, Any] = {}
    try:
        yield account
    finally:
        output, _ = process.communicate(timeout=PATIENCE_S)
    account.update(json.loads(output))


def card(number: int) -> str:
    return f".card[data-id='{SERVICE}-{number}']"


def state(number: int, word: str) -> str:
    return f"document.querySelector(\"{card(number)} .state\").innerText.includes('{word}')"


def test_an_instance_is_crashed_by_its_button_without_a_lost_call(served: Served, page: Page) -> None:
    """The instance's card, the list of requests and the client's counters agree, and no call fails."""
    with calling(served, 100) as account:
        page.until(f'parseFloat(document.querySelector("{card(1)} .rate span").innerText) > 0')
        page.click(f"{card(1)} [data-act=crashed]")
        page.until(state(1, "crashed"))
        at_the_crash = served.admin("POST", "/v1/requests/count", {"instance": "echo-1"})[1]["count"]
        # A crash does not change the discovery reply; deregistration does.
        assert len(served.discover(SERVICE)) == 3
        page.click(f"{card(1)} .switch")
        page.until("document.querySelectorAll('#told tr').length === 2")
        told = page.run("[...document.querySelectorAll('#told tr td:nth-child(2)')].map(cell => cell.innerText)")
        assert told == [f"{row['ip']}:{row['port']}" for row in served.discover(SERVICE)]
        page.until(f"document.querySelector(\"{card(1)} .rate span\").innerText === '0'")
        assert served.admin("POST", "/v1/requests/count", {"instance": "echo-1"})[1]["count"] == at_the_crash
    assert (account["answered"], account["lost"]) == (account["calls"], [])
    assert account["instances"] == sorted(told)
    crashed = served.instances[1]
    assert set(account["failures_at"]) == {f"{crashed['ip']}:{crashed['port']}"}
    assert served.admin("POST", "/v1/requests/count", {"status": 200})[1]["count"] == account["calls"]
    page.click(f"{card(1)} [data-act=running]")
    page.until(state(1, "running"))


def test_a_queue_service_shows_length_pending_and_consumers(served: Served, page: Page) -> None:
    """One worker processes a frame for an hour, and two frames wait in the queue."""
    queue = {"name": "q", "instances": 1, "queue_service": True, "workers": 1, "processing": 3600}
    assert served.admin("POST", "/v1/services", queue)[0] == 201
    for body in (b"one", b"two", b"three"):
        assert served.raw("POST", "/api/predict/q", body, {})[0] == 200
    shown = "input queue: length 3, pending 1, consumers 1 · sink: length 0, pending 0, consumers 0"
    page.until(f"[...document.querySelectorAll('.queues')].some(p => !p.hidden && p.innerText === {json.dumps(shown)})")
    assert page.run("[...document.querySelectorAll('.queues')].filter(p => !p.hidden).length") == 1
    assert served.admin("DELETE", "/v1/services/q")[0] == 204


def test_a_running_watch_is_one_line_that_fits_a_phone(served: Served, page: Page) -> None:
    """The path is longer than the line, and its query of a hundred characters contains no position for a line break."""
    assert served.admin("POST", "/v1/services", {"name": "q", "instances": 1, "queue_service": True})[0] == 201
    path = "/api/predict/q?_watch_=true&_index_=0&_window_=10&_index_only_=false&_auto_commit_=false&tag=" + "x" * 60
    watching = HTTPConnection(served.ready["url"].removeprefix("http://"), timeout=PATIENCE_S)
    watching.request("GET", path)
    with watching.getresponse() as response:
        assert response.status == 200
        page.until("document.querySelectorAll('.flow').length === 1")
        assert page.run("document.querySelector('.flow div').innerText") == "q-0 watch q"
        assert page.run("document.querySelector('.flow div').title") == f"GET {path}"
        for width in (1280, 375):
            page.resize(width, 812)
            assert page.run("document.documentElement.scrollWidth") <= width
            assert page.run("document.querySelector('.flow').offsetHeight") < 70
    watching.close()
    assert served.admin("DELETE", "/v1/services/q")[0] == 204


def test_every_button_of_a_card_changes_the_instance(served: Served, page: Page) -> None:
    """The buttons hang, drain, restart, reweigh, add and remove instances. Changes by the admin API are shown, too."""
    for act in ("hung", "draining", "running"):
        page.click(f"{card(0)} [data-act={act}]")
        page.until(state(0, act))
        assert served.admin("GET", "/v1/services/echo/instances/echo-0")[1]["state"] == act
    page.click(f"{card(2)} input")
    page.run(f'document.querySelector("{card(2)} input").select()')
    page.write("250")
    page.press("Enter")
    page.until("toasted.includes('echo-2 weighs 250')")
    assert [row["weight"] for row in served.discover(SERVICE)] == [100, 100, 250]
    page.run("[...document.querySelectorAll('.service .head button')].at(-1).click()")
    page.until("document.querySelectorAll('.card').length === 4")
    page.click(f"{card(3)} .x")
    page.until("document.querySelectorAll('.card').length === 3")
    served.patch("echo", "echo-1", state="hung", weight=5)
    page.until(state(1, "hung"))
    assert page.run(f'document.querySelector("{card(1)} input").value') == "5"
    text = page.text("#services")
    assert all(f"echo-{number}" in text for number in range(3))


def rows(reply: tuple[int, bytes]) -> Any:
    return json.loads(reply[1])["endpoints"]["items"]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("http_status", lambda reply: reply[0] == 500),
        ("empty_list", lambda reply: rows(reply) == []),
        ("garbage", lambda reply: reply[0] == 200 and not reply[1].startswith(b"{")),
        ("zero_weights", lambda reply: {row["weight"] for row in rows(reply)} == {0}),
        ("bad_rows", lambda reply: None in rows(reply)),
        ("stale", lambda reply: len(rows(reply)) == 3),
        ("flapping", lambda reply: len(rows(reply)) <= 3),
    ],
)
def test_buttons_activate_and_remove_a_discovery_fault(served: Served, page: Page, kind: str, seen: Any) -> None:
    """The page shows the discovery reply that a client would receive. The first button removes the fault."""
    path = f"/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{SERVICE}"
    page.click(f"[data-discovery-fault={kind}]")
    page.until(f"document.querySelector('[data-discovery-fault={kind}]').getAttribute('aria-pressed') === 'true'")
    assert seen(served.raw("GET", path, b"", {}))
    # The pointer is still on the button, so this checks the contrast of its hover colour.
    assert page.run(_CONTRASTS) == []
    page.until("document.querySelector('#told .pill.bad')")
    page.until("document.querySelector('.fault .struck').innerText.startsWith('activated')")
    page.click("[data-discovery-fault='']")
    page.until("document.querySelector('[data-discovery-fault=\"\"]').getAttribute('aria-pressed') === 'true'")
    assert len(served.discover(SERVICE)) == 3
    page.until("document.querySelector('#told .pill.good') && !document.querySelector('.fault')")


def test_discovery_stops_replying_by_a_button(served: Served, page: Page) -> None:
    path = f"/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{SERVICE}"
    page.click("[data-discovery-fault=unreachable]")
    page.until("document.querySelector('[data-discovery-fault=unreachable]').getAttribute('aria-pressed') === 'true'")
    with pytest.raises(ConnectionError):
        served.raw("GET", path, b"", {})
    page.until("document.querySelector('#told .pill.bad').innerText.includes('no response')")
    for kind in ("timeout", "latency"):
        page.click(f"[data-discovery-fault={kind}]")
        page.until(f"document.querySelector('[data-discovery-fault={kind}]').getAttribute('aria-pressed') === 'true'")
        assert [fault["type"] for fault in served.admin("GET", "/v1/faults")[1]["faults"]] == [kind]


def test_the_page_can_be_used_by_the_keyboard(served: Served, page: Page) -> None:
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert page.run("document.activeElement.dataset.id") == "echo-1"
    for key, word in (("h", "hung"), ("c", "crashed"), ("r", "running"), ("d", "draining")):
        page.press(key)
        page.until(state(1, word))
    page.press("w")
    page.write("42")
    page.press("Enter")
    page.until("toasted.includes('echo-1 weighs 42')")
    page.press("Escape")
    page.press("l")
    page.until(f"document.querySelector(\"{card(1)} .switch\").getAttribute('aria-checked') === 'false'")
    page.press("n")
    page.until("document.querySelector('#fault-dialog').open")
    assert page.run("document.activeElement.id") == "f-where"
    assert json.loads(page.run("document.querySelector('#f-where').value"))["instance"] == "echo-1"
    page.run("document.querySelector('#f-attributes input[name=latency]').select()")
    page.write("-5")
    page.press("Enter")
    page.until("!document.querySelector('#f-attributes input[name=latency]').validity.valid")
    page.run("document.querySelector('#f-attributes input[name=latency]').select()")
    page.write("150")
    page.press("Enter")
    page.until("!document.querySelector('#fault-dialog').open && document.querySelector('.fault')")
    (fault,) = served.admin("GET", "/v1/faults")[1]["faults"]
    assert (fault["target"]["instance"], fault["attributes"]) == ("echo-1", {"latency": 150})
    page.press("?")
    page.until("document.querySelector('#help-dialog').open")
    page.press("Escape")
    page.until("!document.querySelector('#help-dialog').open")
    page.press("/")
    assert page.run("document.activeElement.id") == "filter"


def test_requests_are_filtered_and_their_text_is_never_run_as_html(served: Served, page: Page) -> None:
    evil = "<img/src=x/onerror=document.title=1>"
    served.predict(f"echo/{evil}", b"", {"Authorization": "t0ken-of-the-test"})
    served.predict("echo?token=t0ken-of-the-test", b"", {"Authorization": "wrong"})
    page.until("document.querySelectorAll('#rows .row:not(.names)').length === 2")
    assert evil in page.text("#rows")
    page.click("#failed")
    page.until("document.querySelectorAll('#rows .row:not(.names)').length === 1")
    assert "401" in page.text("#rows")
    page.click("#failed")
    page.click("#filter")
    page.write("onerror")
    page.until("document.querySelectorAll('#rows .row:not(.names)').length === 1")
    assert page.run("document.title") == "EAS simulator"


def test_buttons_work_under_thousands_of_requests(served: Served, page: Page) -> None:
    """No call fails, and the counts are exact. `benchmarks/page.py` measures the frame rate."""
    with calling(served, 2000) as account:
        page.until("world.total > 2000")
        page.click(f"{card(0)} [data-act=draining]")
        page.until(state(0, "draining"))
        page.click(f"{card(0)} [data-act=running]")
        page.until(state(0, "running"))
        assert page.run("document.querySelectorAll('*').length") < 2600
    assert account["lost"] == []
    total = served.admin("GET", "/v1/state")[1]["requests"]["total"]
    page.until(f"document.querySelector('#sum-requests dt i').innerText === '{total:,} in all'")
    assert total >= account["calls"]


def test_a_flood_of_events_is_drawn_once_per_frame(browser: Browser, served: Served) -> None:
    """Of 10,000 events, none is drawn before the next frame, and only the 200 rows that are shown are created."""
    page = browser.open(served.ready["admin_url"] + "/", script=_KEEP_SOURCE)
    page.until("world.last && document.querySelectorAll('.card').length === 3")
    found = page.run(_FLOOD)
    assert found["at_once"] == 0
    assert 1 <= found["drawings"] <= 2  # the page's timer can cause one more drawing in the second frame
    assert found["made"] == found["shown"] == 200
    assert found["kept"] <= 2000
    page.close()


def test_the_page_shows_when_it_samples_requests(browser: Browser, served: Served) -> None:
    page = browser.open(served.ready["admin_url"] + "/", script=_KEEP_SOURCE)
    page.until("world.last && document.querySelectorAll('.card').length === 3")
    assert page.run(_SECOND % (10, 10)) == "every request"
    assert page.run(_SECOND % (80, 2000)) == "a sample: 80 of 2,000/s"
    page.close()


def test_the_page_reconnects_to_a_restarted_simulator(browser: Browser, tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "echo=2", "--token", "") as first:
        port = first.ready["url"].rpartition(":")[2]
        page = browser.open(first.ready["admin_url"] + "/")
        page.until("document.querySelectorAll('.card').length === 2 && document.querySelector('#live.on')")
    page.until("document.querySelector('#live').innerText === 'reconnecting'")
    with Served(tmp_path, "--service", "echo=5", "--token", "", port=port):
        page.until("document.querySelectorAll('.card').length === 5 && document.querySelector('#live.on')")
    page.close()


@pytest.fixture
def several(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Load the page of a simulator with five services."""
    services = [part for name in ("echo=3", "ranker=4", "mnist=2", "chat=3", "embed=5") for part in ("--service", name)]
    with Served(tmp_path, *services, "--token", "") as served:
        served.patch("embed", "embed-4", state="crashed")
        opened = browser.open(served.ready["admin_url"] + "/", width=1280, height=900)
        opened.until("document.querySelectorAll('.card').length === 17 && document.querySelectorAll('#jump button')[4]")
        yield opened
        assert opened.complaints == []
        opened.close()


FOLDED = "[...document.querySelectorAll('.service')].map(one => one.classList.contains('folded'))"


def in_view(selector: str) -> str:
    return f"""(() => {{ const box = document.querySelector("{selector}").getBoundingClientRect();
        return box.top >= 0 && box.top < innerHeight && box.bottom > 0; }})()"""


def test_several_services_are_jumped_to_and_folded_while_the_requests_stay_in_view(several: Page) -> None:
    assert several.run(FOLDED) == [False, False, True, True, True]
    assert several.text("#jump .ill") == "embed · 1 of 5 not running"
    assert several.run("document.documentElement.scrollHeight <= innerHeight + 40")
    several.click("#jump .ill")
    assert several.run(FOLDED) == [False, False, True, True, False]
    several.until(in_view("[aria-label='Service embed']"))
    several.until("document.activeElement.dataset.id === 'embed-0'")
    assert several.run(in_view("#stream"))
    several.click("[aria-label='Instances of echo']")
    assert several.run(FOLDED)[0]
    several.press("ArrowLeft")
    assert several.run("document.activeElement.closest('.folded')") is None


def test_one_service_has_no_buttons_to_jump_to_a_service(page: Page) -> None:
    assert page.run("document.querySelector('#jump').hidden")
    assert page.run(FOLDED) == [False]


@pytest.mark.parametrize("width", [1440, 1280, 1024, 900, 700])
def test_the_last_row_of_cards_is_filled(page: Page, width: int) -> None:
    page.resize(width, 900)
    ends = """[...document.querySelectorAll('.card')].map(one => one.getBoundingClientRect())
        .reduce((rows, box) => ({...rows, [box.top]: Math.round(box.right)}), {})"""
    assert len(set(page.run(f"Object.values({ends})"))) == 1
    assert page.run("[...document.querySelectorAll('.acts button')].every(one => one.scrollWidth <= one.offsetWidth)")


def test_a_phone_shows_the_essence_of_each_card_and_the_rest_of_the_chosen_one(page: Page) -> None:
    page.resize(375, 812)
    heights = "[...document.querySelectorAll('.card')].map(one => one.offsetHeight)"
    assert all(height <= 130 for height in page.run(heights))
    page.run(f'document.querySelector("{card(1)}").focus()')
    assert page.run(f'document.querySelector("{card(1)} [data-act=crashed]").checkVisibility()')
    assert page.run("document.querySelector('#rows').offsetHeight <= innerHeight * 0.6")


def test_reset_requires_a_confirmation(served: Served, page: Page) -> None:
    served.admin("POST", "/v1/faults", {"name": "mine", "type": "empty_list", "target": {"discovery": True}})
    page.until("document.querySelector('#fault-count').innerText === '1'")
    page.click("#reset")
    assert page.text("#reset-says") == "This removes 1 fault and 0 requests of the journal."
    page.press("Escape")
    assert len(served.admin("GET", "/v1/faults", None)[1]["faults"]) == 1
    page.click("#reset")
    page.click("#reset-dialog button[value=reset]")
    page.until("toasted.includes('reset to the initial state')")
    assert served.admin("GET", "/v1/faults", None)[1]["faults"] == []


def test_no_line_is_drawn_for_a_series_of_zeros(page: Page) -> None:
    page.until("world.sums.failures?.values.filter(value => value !== null).length > 1")
    assert page.run("document.querySelector('#sum-failures path.line').getAttribute('d')") == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_the_page_fits_the_screen_and_its_contrast_suffices(page: Page, scheme: str, width: int, height: int) -> None:
    page.prefer(scheme)
    page.resize(width, height)
    # A phone widens its viewport to the width of overflowing content, so `innerWidth` would hide the overflow.
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(_CONTRASTS) == []


def test_the_theme_is_chosen_by_a_key_and_stored(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    page.press("t")
    page.press("t")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    assert page.run(ground) != light
    page.do("Page.reload")
    page.until("document.querySelectorAll('.card').length === 3")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.run("localStorage.clear()")


def test_hundreds_of_instances_are_all_shown_as_small_cards(browser: Browser, tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "echo=300", "--token", "") as served:
        page = browser.open(served.ready["admin_url"] + "/")
        page.until("document.querySelectorAll('.dense .card').length === 300")
        served.patch("echo", "echo-250", state="crashed")
        page.until(f"document.querySelector(\"{card(250)} .state\").textContent.includes('crashed')")
        assert page.run("[...document.querySelectorAll('.card h3')].map(h => h.textContent).join()") == ",".join(
            f"echo-{number}" for number in range(300)
        )
        assert page.complaints == []
        page.close()


# Record toasts when they appear: a toast disappears after two seconds, which may be before the test looks for it.
_KEEP_TOASTS = """(() => {
  window.toasted = [];
  const note = changes => changes.forEach(c => c.addedNodes.forEach(node => toasted.push(node.textContent)));
  new MutationObserver(note).observe(document.querySelector("#toasts"), {childList: true});
})()"""
# Expose the page's `EventSource`, so that a test can dispatch events to the page.
_KEEP_SOURCE = """window.EventSource = class extends EventSource {
  constructor(...given) { super(...given); window.source = this; }
};
window.say = (name, value) => source.dispatchEvent(new MessageEvent(name, {data: JSON.stringify(value)}));
window.row = number => ({number, at: 1, method: "POST", path: "/api/predict/echo", instance: "echo-0", status: 200,
  fault: "", elapsed_s: 0.01, bytes_in: 1, bytes_out: 1});"""
_FLOOD = """new Promise(done => {
  const draws = drawAll, makes = makeRow;
  let drawings = 0, made = 0;
  drawAll = () => { drawings++; draws() };
  makeRow = one => { made++; return makes(one) };
  for (let number = 1; number <= 10000; number++) say("request", row(number));
  const at_once = drawings;
  requestAnimationFrame(() => requestAnimationFrame(() => {
    drawAll = draws; makeRow = makes;
    const shown = document.querySelectorAll("#rows .row:not(.names)").length;
    done({at_once, drawings, made, shown, kept: rows.length});
  }));
})"""
# Dispatch the given number of `request` events, and a `tick` event that adds the given number of requests to the total.
# One script dispatches them all, so that no other event arrives between them.
_SECOND = """(() => {
  stream.second = 0;
  for (let number = 1; number <= %d; number++) say("request", row(number));
  say("tick", {...world.last, at: world.last.at + 1, total: world.last.total + %d});
  drawStream();
  return document.querySelector("#sampled").innerText;
})()"""
_CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] > 250) return c;
    }
    return [255, 255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || element.disabled || !element.checkVisibility() || element.closest("button:disabled")) continue;
    const a = light(rgb(getComputedStyle(element).color)), b = light(ground(element));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const what = `${element.tagName}.${element.className} "${element.textContent.slice(0, 20)}"`;
    if (ratio < 4.5) bad.push(`${what} ${ratio.toFixed(2)}`);
  }
  return bad;
})()"""
