"""Tokens are masked, in any encoding, wherever the simulator shows data of clients."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from simulator import Fault, ServiceSpec, Target
from simulator.faults import FaultError
from simulator.http1 import ReceivedRequest
from simulator.masking import MASK, TokenMask
from simulator.stubs import read_stub
from simulator.timeline import TimelineStep
from tests.simulator.serving import Served
from tests.simulator.world import Listener, World

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "Zm9v/YmFy+c2VjcmV0=="


def masked(*tokens: str) -> TokenMask:
    mask = TokenMask()
    for number, token in enumerate(tokens):
        mask.add(f"s{number}", token)
    return mask


def encoded_in_part(token: str, which: list[int], times: int = 1) -> str:
    """Percent-encode some of the characters, `times` times, with hexadecimal digits in both cases."""
    spelled = ""
    for at, character in enumerate(token):
        form = character
        if at in which:
            form = "".join(f"%{byte:02X}" if at % 2 else f"%{byte:02x}" for byte in character.encode())
            for _ in range(times - 1):
                form = form.replace("%", "%25")
        spelled += form
    return spelled


@pytest.mark.parametrize("times", [1, 2, 3, 40])
@pytest.mark.parametrize("which", [[], [0], [4, 8, 9], list(range(20))], ids=["none", "first", "some", "all"])
def test_percent_encoded_tokens_are_masked(which: list[int], times: int) -> None:
    """None, some or all of the characters are percent-encoded, in lower and upper case, once or several times."""
    mask = masked(TOKEN)
    spelled = encoded_in_part(TOKEN, which, times)
    assert mask(f"/api/predict/s?token={spelled}&a=b") == f"/api/predict/s?token={MASK}&a=b"


@pytest.mark.parametrize(
    "text",
    [
        quote(TOKEN, safe=""),
        quote(quote(TOKEN, safe=""), safe=""),
        quote(TOKEN, safe="").lower().replace("zm9v", "Zm9v").replace("ymfy", "YmFy").replace("c2vjcmv0", "c2VjcmV0"),
        "%255A" + "%6d" + TOKEN[2:],
        "%%35%41" + TOKEN[1:],
        f"100% {TOKEN}",
        f"{quote(TOKEN, safe='')}&%%35%41{TOKEN[1:]}",
        f"{quote(TOKEN, safe='')} and {TOKEN}",
        repr({"k": TOKEN}),
        json.dumps([TOKEN]),
    ],
)
def test_tokens_in_mixed_encodings_are_masked(text: str) -> None:
    """No decoding of the masked text contains the token."""
    found = masked(TOKEN)(text)
    assert MASK in found
    for _ in range(5):
        assert TOKEN not in found
        found = unquote(found)


@pytest.mark.parametrize(
    "token", ["a b c d", "ключ-секрет", "täglich", 'quo"te\\d', "per%2fcent", "100%", "•••", "tab\tx"]
)
def test_unusual_tokens_are_masked(token: str) -> None:
    """These tokens have blanks, tabs, quotes, percent signs, or characters outside ASCII."""
    mask = masked(token)
    spellings = [
        token,
        quote(token, safe=""),
        quote(quote(token, safe=""), safe="").lower() if token.islower() else quote(token),
        quote(token, safe="").replace("%20", "+"),
        token.encode().decode("latin-1"),
        repr(token),
        json.dumps(token),
    ]
    for spelled in spellings:
        found = mask(f"/x?y={spelled}&z")
        for _ in range(3):
            assert token not in found or token == MASK, spelled
            found = unquote(found)
        assert MASK in mask(spelled)


def test_any_token_in_any_encoding() -> None:
    rng = Random(13)
    for _ in range(3000):
        token = "".join(rng.choice("aB0/+=%2f5 ä密\\'\"&?") for _ in range(rng.randint(4, 12)))
        mask = masked(token)
        parts = []
        for _ in range(2):
            which = rng.sample(range(len(token)), rng.randint(0, len(token)))
            parts.append(encoded_in_part(token, which, rng.randint(1, 3)))
        shown = mask("/a/" + "&b=".join(parts))
        for _ in range(4):
            assert token not in shown, (token, parts)
            shown = unquote(shown)


def test_other_text_is_not_changed() -> None:
    mask = masked(TOKEN, "")
    for text in ("/api/predict/%65cho?q=%2525", "100 %", "%", "%zz", "ü%C3%BC", ""):
        assert mask(text) == text


def test_a_truncated_token_is_masked() -> None:
    """The token is masked if at least its first half is at the end of a truncated text."""
    mask = masked(TOKEN)
    for length in range(len(TOKEN) // 2, len(TOKEN)):
        assert mask(f"/x?t={TOKEN[:length]}…", is_cut=True) == f"/x?t={MASK}…"
        assert mask(f"/x?t={TOKEN[:length]}") == f"/x?t={TOKEN[:length]}"
    assert mask("/x?t=Zm9v%2FYmFy%2Bc2VjcmV0%3", is_cut=True) == f"/x?t={MASK}"
    assert mask("/x?t=Zm9v…", is_cut=True) == "/x?t=Zm9v…"


def test_tokens_of_removed_services_are_still_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.masking.MAX_RETIRED", 30)
    mask = masked(TOKEN)
    mask.retire("s0")
    assert mask(TOKEN) == MASK
    for number in range(30):
        mask.add("other", f"other-{number}")
        mask.retire("other")
    assert mask(TOKEN) == TOKEN
    assert len(mask._spellings) == 30


SPELLINGS = [TOKEN, quote(TOKEN, safe=""), quote(quote(TOKEN, safe=""), safe=""), encoded_in_part(TOKEN, [0, 4, 9])]


class TestWhereItIsShown:
    """Dashboard, journal, events, metrics, activations, errors and log: no decoding of their text contains a token."""

    @pytest.fixture
    def world(self) -> World:
        return World((ServiceSpec("echo", 2, token=TOKEN), ServiceSpec("group/rank", 1)))

    def shown(self, world: World, *texts: str) -> None:
        for text in texts:
            for _ in range(5):
                assert TOKEN not in text
                text = unquote(text)  # noqa: PLW2901

    @pytest.mark.parametrize("spelled", SPELLINGS)
    def test_tokens_are_masked_everywhere(self, world: World, spelled: str) -> None:
        """The token is in names and attributes of faults, in paths of requests, and in discovery requests."""
        listener = world.listen()
        fault = Fault("http_status", Target("echo"), {"body": spelled}, name=spelled.replace("/", "_") + TOKEN[:4])
        named = Fault("http_status", Target("echo"), name=encoded_in_part(TOKEN, list(range(20))))
        world.simulator.faults.add(fault)
        world.simulator.faults.add(named)
        world.simulator.faults.on_instance("echo", "echo-0")
        world.row(path=f"/api/predict/echo/{spelled}?t={spelled}", fault=named.name)
        world.row(path="/" + "x" * 500 + spelled)
        world.discover(f"echo?token={spelled}")
        world.discover(spelled)
        world.clock.advance(1.1)
        world.simulator.faults.remove(named.name)
        world.clock.advance(0.1)
        heard = listener.transport.value().decode()
        assert "fault_gone" in heard
        self.shown(world, heard)
        paths = [
            "/v1/state",
            "/v1/services",
            "/v1/requests",
            "/v1/faults",
            "/v1/activations",
            "/v1/discovery",
            "/metrics",
        ]
        for path in paths:
            status, body = world.ask("GET", path)
            assert status == 200
            self.shown(world, json.dumps(body, ensure_ascii=False))

    @pytest.mark.parametrize("spelled", SPELLINGS)
    def test_error_details_are_masked(self, world: World, spelled: str) -> None:
        asked: list[tuple[str, str, Any]] = [
            ("GET", f"/v1/services/{quote(spelled, safe='')}", None),
            ("GET", f"/v1/faults/{quote(spelled, safe='')}", None),
            ("GET", f"/{spelled}", None),
            ("GET", f"/v1/requests?{quote(spelled, safe='')}=1", None),
            ("GET", f"/v1/requests?limit={quote(spelled, safe='')}", None),
            ("PATCH", "/v1/services/echo/instances/echo-0", {"state": spelled}),
            ("PATCH", "/v1/services/echo/instances/echo-0", {spelled: 1}),
            ("POST", "/v1/requests/count", {"status": spelled}),
            ("POST", "/v1/faults", {"type": spelled, "target": {"service": "echo"}}),
            ("POST", "/v1/faults", {"type": "refuse", "target": {"service": spelled}}),
            ("POST", "/v1/faults", {"type": "refuse", "target": {"service": "echo"}, "skip": "x" * 40 + spelled}),
            ("POST", "/v1/services", {"name": spelled}),
        ]
        for method, target, body in asked:
            status, document = world.ask(method, target, body)
            assert status >= 400
            assert MASK in document["detail"]
            self.shown(world, document["detail"])
        status, document = world.ask("GET", "/v1/state", host=spelled)
        assert status == 403
        assert MASK in document["detail"]
        self.shown(world, document["detail"])

    def test_a_faults_name_may_not_be_a_token(self, world: World) -> None:
        """The name would be in the journal, and a fault could not be deleted by its masked name."""
        name = quote(TOKEN, safe="")
        fault = {"type": "refuse", "name": name, "target": {"service": "echo"}}
        status, document = world.ask("POST", "/v1/faults", fault)
        assert (status, "token" in document["detail"]) == (422, True)
        assert world.ask("GET", "/v1/faults")[1] == {"faults": []}

    def test_a_fault_can_be_deleted_by_its_masked_name(self, world: World) -> None:
        world.simulator.faults.add(Fault("refuse", Target("echo"), name=f"x-{quote(TOKEN, safe='')}"))
        ((name,),) = [[fault["name"] for fault in world.ask("GET", "/v1/faults")[1]["faults"]]]
        assert name == f"x-{MASK}"
        assert world.ask("DELETE", f"/v1/faults/{quote(name)}")[0] == 204
        assert world.ask("GET", "/v1/faults")[1] == {"faults": []}

    def test_an_unpaired_surrogate_is_not_valid_json(self, world: World) -> None:
        """A fault's body with an unpaired surrogate could not be encoded."""
        fault = {"type": "http_status", "target": {"service": "echo"}, "attributes": {"body": "\ud800"}}
        assert world.ask("POST", "/v1/faults", fault)[0] == 400
        assert world.ask("POST", "/v1/faults", {**fault, "attributes": {"body": "\U0001f916"}})[0] == 201
        with pytest.raises(FaultError, match="body: expected a string"):
            Fault("http_status", Target("echo"), {"body": "\ud800"})

    def test_a_removed_services_token_stays_masked(self, world: World) -> None:
        world.row(path=f"/api/predict/echo?t={TOKEN}")
        world.simulator.remove_service("echo")
        assert world.ask("GET", "/v1/requests")[1]["requests"][0]["path"] == f"/api/predict/echo?t={MASK}"

    def test_a_token_at_the_end_of_a_truncated_path_is_masked(self, world: World) -> None:
        """The list of the requests that no stub matches has the first characters of each path."""
        stubs = world.simulator.services["echo"].stubs
        stubs.add(read_stub({"request": {"method": "GET"}}, "any"))
        request = ReceivedRequest("POST", "/", {}, b"", Listener())
        stubs.answer(request, "/" + "x" * (199 - len(TOKEN) + 1) + TOKEN)
        (shown,) = world.ask("GET", "/v1/services/echo/stubs")[1]["unmatched"]
        assert shown.endswith(f"x{MASK}…")

    def test_the_404_of_an_instance_is_masked(self) -> None:
        """The error text of an instance contains the path of the request."""
        from tests.simulator.region import Region  # noqa: PLC0415

        region = Region(token=TOKEN)
        wire = region.ask(service="other", path=f"/{quote(TOKEN, safe='')}")
        region.wait(0.1)
        assert wire.status == 404
        assert MASK.encode() in wire.body
        region.close()


def test_the_log_and_the_timeline_show_no_token(tmp_path: Path) -> None:
    story = tmp_path / "story.toml"
    name = quote(TOKEN, safe="")
    story.write_text(
        f'[[services]]\nname = "echo"\ninstances = 1\ntoken = "{TOKEN}"\n'
        f'[[timeline]]\nat_s = 0\ndo = "say"\nsays = "the token is {TOKEN}"\n'
        f'[[timeline]]\nat_s = 0\ndo = "fault"\n'
        f'fault = {{ type = "slow", name = "{name}", target = {{ service = "echo" }} }}\n'
        f'[[timeline]]\nat_s = 0\ndo = "heal"\nname = "{name}"\n'
    )
    with Served(tmp_path, "--scenario", str(story)) as served:
        pass
    shown = served.output
    assert f"the token is {MASK}" in shown
    for _ in range(3):
        assert TOKEN not in shown
        shown = unquote(shown)
    assert str(TimelineStep(0.0, "heal", name=name)).endswith(name)
