"""`eas-tw` in subprocesses: output, exit codes, and a crashed instance."""

from __future__ import annotations

import io
import json
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import TOKEN
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment


def several() -> bytes:
    """Return a numpy file with two arrays."""
    file = io.BytesIO()
    np.savez(file, a=1, b=2)
    return file.getvalue()


COMMAND = [sys.executable, "-m", "eas_tw.cli"]


def variables(served: Served, **changes: str) -> dict[str, str]:
    mine = {name: value for name, value in environment().items() if not name.startswith("EAS_")}
    return {**mine, "HOME": "/nonexistent", "EAS_ENDPOINT": served.ready["url"], "EAS_TOKEN": TOKEN, **changes}


def eas(served: Served, *arguments: str, stdin: bytes = b"", **changes: str) -> subprocess.CompletedProcess[bytes]:
    ended = subprocess.run(  # noqa: S603
        [*COMMAND, *arguments],
        env=variables(served, **changes),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert TOKEN.encode() not in ended.stdout + ended.stderr
    assert b"Traceback" not in ended.stderr
    return ended


def answer(ended: subprocess.CompletedProcess[bytes]) -> str:
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout.decode()


def test_the_version_is_printed(served: Served) -> None:
    assert answer(eas(served, "--version")) == f"eas-tw {version('eas-tw')}\n"


class TestBalancer:
    """The options `--balancer` and `--key`."""

    def test_a_name_and_a_class_are_taken(self, served: Served) -> None:
        for balancer in ("hash", "p2c", "tests.integration.own_balancer:FirstInstance"):
            ended = eas(served, "predict", "--service", "echo", "--balancer", balancer, "--key", "ada", "1")
            assert answer(ended) == "1\n"

    @pytest.mark.parametrize(
        ("balancer", "says"),
        [
            ("round", "--balancer: balancer must be one of 'wrr', 'p2c', 'hash', or a class"),
            ("no_such_module:Name", "--balancer 'no_such_module:Name' cannot be imported: ModuleNotFoundError"),
            ("json:no_such_name", "--balancer 'json:no_such_name': the module json has no function no_such_name"),
        ],
    )
    def test_an_invalid_balancer_is_one_line(self, served: Served, balancer: str, says: str) -> None:
        ended = eas(served, "predict", "--service", "echo", "--balancer", balancer, "1")
        assert ended.returncode != 0
        assert says.encode() in ended.stderr
        assert ended.stderr.count(b"\n") == 1


class TestPredict:
    """`eas-tw predict`, which makes one call."""

    def test_bodies_come_from_an_argument_a_file_or_stdin(self, served: Served, tmp_path: Path) -> None:
        served.patch("echo", "echo-0", state="crashed")
        (tmp_path / "body").write_bytes(b"\xff\x00raw")
        for _ in range(3):
            assert answer(eas(served, "predict", "--service", "echo", '[{"a": "名"}]')) == (
                '[\n  {\n    "a": "名"\n  }\n]\n'
            )
        raw = eas(served, "predict", "--service", "echo", "--file", str(tmp_path / "body"), "--output", "raw")
        assert (raw.returncode, raw.stdout) == (0, b"\xff\x00raw")
        told = json.loads(answer(eas(served, "predict", "--service", "echo", "--output", "json", stdin=b'{"x": 1}')))
        assert told["response"] == {"x": 1}
        assert len(told["instances"]) == 3
        (row,) = served.admin("GET", "/v1/requests?limit=1", None)[1]["requests"]
        port = {instance["id"]: instance["port"] for instance in served.instances}[row["instance"]]
        assert told["instance"] == f"127.0.0.1:{port}"
        assert answer(eas(served, "predict", "--service", "echo", "-", stdin=b"plain text")) == "plain text\n"

    def test_tensors_come_from_npy_and_csv(self, served: Served, tmp_path: Path) -> None:
        image = np.linspace(0, 1, 784, dtype=np.float32).reshape(1, 784)
        np.save(tmp_path / "image.npy", image)
        np.savetxt(tmp_path / "image.csv", image, delimiter=",", fmt="%.9g")
        told = []
        for name in ("image.npy", "image.csv"):
            arguments = ("--signature", "predict_images", "--tensor", f"images={tmp_path / name}", "--fetch", "scores")
            told.append(answer(eas(served, "predict", "--service", "mnist", *arguments, "--output", "json")))
        one, two = map(json.loads, told)
        assert one["outputs"] == two["outputs"]
        assert one["instance"] in one["instances"]
        scores = one["outputs"]["scores"]
        assert (scores["shape"], len(scores["values"])) == ([1, 10], 10)
        pretty = answer(eas(served, "predict", "--service", "mnist", *arguments)).splitlines()
        assert pretty[0] == "scores [1, 10]"
        assert [float(text) for text in pretty[1].split()] == pytest.approx(scores["values"], rel=1e-4)

    def test_path_query_and_headers_arrive(self, served: Served) -> None:
        arguments = ("--path", "/v2", "--query", "uid=7", "--header", "X-Trace: 1")
        answer(eas(served, "predict", "--service", "echo", "[]", *arguments))
        (row,) = served.admin("GET", "/v1/requests")[1]["requests"]
        assert row["path"] == "/api/predict/echo/v2?uid=7"

    @pytest.mark.parametrize(
        ("arguments", "changes", "code", "says"),
        [
            (["predict"], {}, 2, "no service: give --service, set EAS_SERVICE, or write"),
            (["predict", "[]", "--service", "a b"], {}, 2, "service_name must be"),
            (["predict", "[]", "--file", "x", "--service", "echo"], {}, 2, "give one of BODY, --file and --tensor"),
            (["predict", "[]", "--service", "echo", "--fetch", "y"], {}, 2, "belong to --tensor"),
            (["predict", "--service", "echo", "--tensor", "images"], {}, 2, "must look like NAME=FILE.npy"),
            (["predict", "--service", "echo", "--tensor", "a=b.txt"], {}, 2, "takes .npy and .csv files"),
            (["predict", "[]", "--service", "echo", "--header", "X"], {}, 2, '"Name: value"'),
            (["predict", "[]", "--service", "echo", "--timeout-s", "soon"], {}, 2, "timeout_s must be a number > 0"),
            (
                ["predict", "[]", "--service", "echo", "--timeout-s", "0"],
                {},
                2,
                "eas-tw: timeout_s must be a number > 0",
            ),
            (
                ["predict", "[]", "--service", "echo"],
                {"EAS_ENDPOINT_TYPE": "straight"},
                2,
                "direct, gateway, vipserver",
            ),
            (["predict", "[]", "--service", "echo", "--profile", "x"], {}, 2, "there is no profile 'x'"),
            (["predict", "[]", "--service", "echo", "--token", "t0ken"], {}, 2, "use EAS_TOKEN or --token-file"),
            (["predict", "{", "--json", "--service", "echo"], {}, 65, "the body is not JSON"),
            (["predict", "--service", "echo", "--file", "/no/such"], {}, 66, "/no/such: No such file"),
            (["predict", "[]", "--service", "echo", "--token-file", "/no/such"], {}, 66, "/no/such: No such file"),
            (["predict", "[]", "--service", "nosuch", "--timeout-s", "0.3"], {}, 69, "no usable list of instances"),
            (["predict", "[]", "--service", "mnist"], {}, 76, "status 400"),
            (["predict", "[]", "--service", "echo"], {"EAS_TOKEN": "wr0ng"}, 77, "status 401"),
            (
                ["predict", "[]", "--service", "echo"],
                {"EAS_TOKEN": "wr0ng"},
                77,
                "; check that the token in EAS_TOKEN is the one of echo",
            ),
            (
                ["predict", "[]", "--service", "echo"],
                {"EAS_TOKEN": ""},
                77,
                "; no token was sent: set EAS_TOKEN, or give --token-file",
            ),
            (["predict", "[]", "--service", "echo"], {"EAS_TOKEN": "t0ken\n"}, 2, "ends with white space"),
            (
                ["predict", "[]", "--service", "nosuch", "--timeout-s", "0.3"],
                {},
                69,
                "status 404; check the service's name, and that the endpoint is the one of its region and no gateway",
            ),
            (
                ["discover", "--service", "echo", "--endpoint", "http://127.0.0.1:1", "--timeout-s", "0.3"],
                {},
                69,
                "; check the endpoint, and that this machine is in a VPC of its region",
            ),
            (
                ["predict", "[]", "--service", "echo", "--endpoint", "http://h/api/predict/echo"],
                {},
                2,
                "give http://h as the endpoint, and echo as the service's name; or the whole URL as custom_url",
            ),
            (["queue", "put", "[]", "--service", "echo"], {}, 65, "; is the service a queue service?"),
            (["queue", "info", "--service", "echo"], {}, 65, "; is the service a queue service?"),
            (["queue", "watch", "--service", "echo"], {}, 76, "is it a queue service? If it is, set"),
            (
                ["discover", "--service", "echo", "--trust-roots", "/no/such.pem", "--endpoint", "https://127.0.0.1"],
                {},
                2,
                "trust_roots: /no/such.pem cannot be read: No such file or directory",
            ),
            (["discover", "--service", "echo", "--endpoint-type", "gateway"], {}, 2, "a gateway has no list"),
        ],
    )
    def test_what_goes_wrong_is_one_line_and_a_code(
        self, served: Served, arguments: list[str], changes: dict[str, str], code: int, says: str
    ) -> None:
        ended = eas(served, *arguments, **changes)
        (line,) = ended.stderr.decode().splitlines()
        assert line.startswith("eas-tw: ")
        assert says in line
        assert (ended.returncode, ended.stdout) == (code, b"")

    def test_files_may_begin_with_a_byte_order_mark(self, served: Served, tmp_path: Path) -> None:
        """Editors on Windows write a byte order mark. It is not part of a token, a profile, or JSON (RFC 8259 §8.1)."""
        mark = b"\xef\xbb\xbf"
        files = {
            "token": TOKEN.encode() + b"\r\n",
            "p.toml": b'[default]\r\nservice = "echo"\r\n',
            "b.json": b'{"a": "\xc3\xa9"}',
        }
        for name, content in files.items():
            (tmp_path / name).write_bytes(mark + content)
        arguments = ["--token-file", str(tmp_path / "token"), "--config", str(tmp_path / "p.toml"), "--json"]
        ended = eas(served, "predict", *arguments, "--file", str(tmp_path / "b.json"), EAS_TOKEN="")
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert json.loads(ended.stdout.decode("utf-8")) == {"a": "é"}

    def test_json_in_another_encoding_is_refused(self, served: Served, tmp_path: Path) -> None:
        (tmp_path / "b.json").write_bytes('{"a": 1}'.encode("utf-16"))
        ended = eas(served, "predict", "--service", "echo", "--json", "--file", str(tmp_path / "b.json"))
        assert ended.returncode == 65
        assert ended.stderr == b"eas-tw: the body is not JSON: it is not UTF-8 at byte 0\n"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--config", "c.toml", "discover"], "options come after the command: eas-tw COMMAND --config …"),
            (["-v", "discover"], "options come after the command: eas-tw COMMAND -v …"),
            (["score", "a.csv", "--output", "b.csv", "--batch", "two"], "--batch: must be a whole number, got 'two'"),
            (["discover", "--interval-s", "soon"], "argument --interval-s: must be a number, got 'soon'"),
        ],
    )
    def test_a_command_line_that_is_wrong_is_explained_in_its_last_line(
        self, served: Served, arguments: list[str], says: str
    ) -> None:
        ended = eas(served, *arguments)
        assert ended.returncode == 2
        assert ended.stderr.decode().splitlines()[-1].endswith(says)

    @pytest.mark.parametrize(
        ("name", "content", "code", "says"),
        [
            ("empty.npy", b"", 65, "empty.npy: EOF: reading magic string"),
            ("half.npy", b"\x93NUMPY\x01\x00", 65, "half.npy: EOF: reading array header"),
            ("zip.npy", b"PK\x03\x04...", 65, "zip.npy: EOF: reading magic string"),
            ("several.npy", several(), 65, "several.npy: the magic string is not correct"),
            ("empty.csv", b"", 65, "empty.csv has no numbers"),
            ("titles.csv", b"a,b\n1,2\n", 65, "titles.csv: could not convert string 'a' to float32"),
            ("token", b"\xff\xfe", 2, "token is not text"),
            ("empty.token", b"\n", 2, "empty.token is empty"),
            ("lines.token", b"a\nb\n", 2, "token must be a string of visible ASCII; the one given is not"),
            ("number.toml", b"default = 5", 2, "number.toml: default must be a table, such as [default]"),
            ("endpoint.toml", b"[default]\nendpoint = 5", 2, "endpoint.toml: endpoint must be text, got 5"),
            ("type.toml", b"[default]\nendpoint_type = ['direct']", 2, "endpoint_type must be text, got ['direct']"),
            ("token.toml", b"[default]\ntoken_file = 5", 2, "token.toml: token_file must be text, got 5"),
            ("typo.toml", b"[default]\nretries = 5", 2, "typo.toml: unknown retries; known are endpoint"),
            ("not.toml", b"{", 2, "not.toml: Invalid statement"),
        ],
    )
    def test_a_file_that_is_none_is_one_line(
        self, served: Served, tmp_path: Path, name: str, content: bytes, code: int, says: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        kind = {".npy": "--tensor=x=", ".csv": "--tensor=x=", ".toml": "--config="}.get(
            Path(name).suffix, "--token-file="
        )
        body = [] if "tensor" in kind else ["[]"]
        ended = eas(served, "predict", "--service", "echo", f"{kind}{tmp_path / name}", *body)
        (line,) = ended.stderr.decode().splitlines()
        assert says in line
        assert (ended.returncode, ended.stdout) == (code, b"")

    def test_bytes_are_sent_as_they_are_typed_and_shown_as_the_terminal_can(self, served: Served) -> None:
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
        assert answer(eas(served, "predict", "--service", "echo", '["名"]', **plain)) == '[\n  "\\u540d"\n]\n'
        assert answer(eas(served, "predict", "--service", "echo", "--output", "raw", '["名"]', **plain)) == '["名"]'

    def test_no_stdin_is_no_body(self, served: Served) -> None:
        command = f"exec {shlex.join(COMMAND)} predict --service echo <&-"
        ended = subprocess.run(["sh", "-c", command], env=variables(served), capture_output=True, check=False)  # noqa: S603, S607
        assert (ended.returncode, ended.stderr) == (
            2,
            b"eas-tw: no body: give BODY, --file or --tensor; stdin is closed\n",
        )

    def test_a_deadline_that_passes_is_75(self, served: Served) -> None:
        for number in range(3):
            served.patch("echo", f"echo-{number}", state="hung")
        ended = eas(served, "predict", "[]", "--service", "echo", "--timeout-s", "0.2")
        assert ended.returncode == 75
        assert b"the deadline of 0.2 s passed" in ended.stderr


class TestPerf:
    """`eas-tw perf`, which makes many calls."""

    def test_every_call_is_in_the_account(self, served: Served) -> None:
        served.patch("echo", "echo-0", state="crashed")
        arguments = ("perf", "[]", "--service", "echo", "--calls", "200", "--in-flight", "8")
        told = json.loads(answer(eas(served, *arguments, "--output", "json")))
        assert (told["answered"], told["failed"]) == (200, {})
        assert told["retries"] >= 1
        times = [told[name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms")]
        assert times == sorted(times)
        assert served.admin("POST", "/v1/requests/count", {"status": 200})[1] == {"count": 200}
        assert answer(eas(served, *arguments)).splitlines()[0].split() == ["answered", "200"]

    def test_one_failed_call_is_enough_for_an_exit_code(self, served: Served) -> None:
        fault = {"type": "http_status", "target": {"service": "echo"}, "attributes": {"code": 418}, "times": 1}
        assert served.admin("POST", "/v1/faults", fault)[0] == 201
        ended = eas(served, "perf", "[]", "--service", "echo", "--calls", "20", "--output", "json")
        told = json.loads(ended.stdout)
        assert (told["answered"], told["failed"], told["hedges"]) == (19, {"StatusError": 1}, 0)
        assert ended.returncode == 76
        assert b"status 418" in ended.stderr

    def test_when_nothing_is_answered_the_last_error_says_why(self, served: Served) -> None:
        ended = eas(served, "perf", "[]", "--service", "echo", "--calls", "3", EAS_TOKEN="wr0ng")
        assert ended.returncode == 77
        assert b"StatusError 3" in ended.stdout
        assert b"status 401" in ended.stderr


class TestSettings:
    """Precedence of settings: flags, then environment variables, then a profile."""

    def test_a_profile_has_all_settings_and_flags_override_them(self, served: Served, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(TOKEN + "\n")
        file = tmp_path / "eas.toml"
        file.write_text(
            f'[default]\nendpoint = "{served.ready["url"]}"\nservice = "nosuch"\ntoken_file = "{tmp_path / "token"}"\n'
            f'[mnist]\nendpoint = "{served.ready["url"]}"\nservice = "mnist"\nendpoint_type = "vipserver"\n'
        )
        without = {"EAS_ENDPOINT": "", "EAS_TOKEN": "", "EAS_CONFIG": str(file)}
        assert answer(eas(served, "predict", "[1]", "--service", "echo", "--output", "raw", **without)) == "[1]"
        assert answer(eas(served, "predict", "[1]", EAS_SERVICE="echo", **without)) == "[\n  1\n]\n"
        assert len(answer(eas(served, "discover", "--profile", "mnist", **without)).splitlines()) == 2

    def test_a_token_in_a_profile_is_refused(self, served: Served, tmp_path: Path) -> None:
        """Profiles may be shared, so a token must be in a separate file. The error does not show the token."""
        file = tmp_path / "eas.toml"
        file.write_text(f'[default]\ntoken = "{TOKEN}"\n')
        ended = eas(served, "discover", "--config", str(file))
        assert ended.returncode == 2
        assert b"unknown token; known are" in ended.stderr


class TestDiscover:
    """`eas-tw discover`, which prints the list of instances."""

    def test_the_list_is_printed(self, served: Served) -> None:
        lines = answer(eas(served, "discover", "--service", "echo")).splitlines()
        wanted = [f"{row['ip']}:{row['port']}  weight 100" for row in served.instances]
        assert sorted(lines) == sorted(wanted)
        rows = [
            json.loads(line)
            for line in answer(eas(served, "discover", "--service", "echo", "--output", "json")).splitlines()
        ]
        assert sorted(row["port"] for row in rows) == sorted(row["port"] for row in served.instances)

    def test_changes_of_the_list_are_printed(self, served: Served) -> None:
        """The command prints one line for each change, until it is interrupted."""
        command = [*COMMAND, "discover", "--service", "echo", "--watch", "--interval-s", "0.05"]
        with subprocess.Popen(command, env=variables(served), stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None

            def line() -> Any:
                return process.stdout.readline().rstrip()  # type: ignore[union-attr]

            assert len({line() for _ in range(3)}) == 3
            first = served.instances[0]
            address = f"{first['ip']}:{first['port']}"
            served.patch("echo", "echo-0", weight=50)
            assert line() == f"~ {address}  weight 50"
            served.patch("echo", "echo-0", registered=False)
            assert line() == f"- {address}  weight 50"
            served.patch("echo", "echo-0", registered=True, weight=100)
            assert line() == f"+ {address}  weight 100"
            served.admin("POST", "/v1/faults", {"type": "empty_list", "target": {"discovery": True}, "times": 1})
            assert line().startswith("! ")
            process.send_signal(signal.SIGINT)
            # When the watch ends, no instance is reported as removed.
            assert (process.stdout.read(), process.wait(PATIENCE_S)) == ("", 130)
