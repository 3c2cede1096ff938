"""Settings of a job, and `Scoring`, the settings of a service for other processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from eas_tw import ENDPOINT_TYPE_DIRECT, ConfigError, JsonRequest, JsonResponse, StringRequest, StringResponse, blocking
from eas_tw.bulk import JobOptions, Scoring, score, score_partition
from eas_tw.bulk.rows import Batch
from eas_tw.dotted_names import load_function

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"encode": 3}, 'encode must be a function, or a name such as "package.module:function", got 3'),
    ({"decode": "json"}, "decode must be a function, or a name"),
    ({"encode": "a:b:c"}, "encode must be a function, or a name"),
    ({"batch_size": 0}, "batch_size must be a whole number ≥ 1, got 0"),
    ({"in_flight": 2.5}, "in_flight must be a whole number ≥ 1, got 2.5"),
    ({"rate_per_s": 0}, "rate_per_s must be a number > 0, or None, got 0"),
    ({"order_buffer": -1}, "order_buffer must be a whole number ≥ 0, or None, got -1"),
    ({"ordered": "no"}, "ordered must be one of False, True, got 'no'"),
    ({"on_error": "ignore"}, "on_error must be one of 'keep', 'raise', got 'ignore'"),
    ({"max_errors": 1.5}, "max_errors must be a count (int ≥ 0), a share (float 0–1) or None, got 1.5"),
    ({"max_errors": True}, "max_errors must be a count"),
    ({"batch_size": 2, "encode": "json.dumps"}, "batch_size 2 needs encode_batch: encode is a function of one row"),
]


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_allowed(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JobOptions(**options)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("name", ["json:dumps", "json.dumps", "os:path.join", "os.path.join"])
def test_functions_are_found_by_name(name: str) -> None:
    assert callable(load_function("encode", name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:f", "encode 'no_such_module:f' cannot be imported: ModuleNotFoundError"),
        ("json:dump_all", "encode 'json:dump_all': the module json has no function dump_all"),
        ("json:__name__", "encode 'json:__name__': the module json has no function __name__"),
    ],
)
def test_a_function_that_is_not_there_is_named(name: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_function("encode", name)
    assert str(caught.value).startswith(says)


def test_a_script_that_ends_the_program_when_it_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job would end with exit code 0, without a row."""
    (tmp_path / "script_of_a_test.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="encode 'script_of_a_test:f' cannot be imported: SystemExit"):
        load_function("encode", "script_of_a_test:f")


@pytest.mark.parametrize(
    ("rows", "sink", "says"),
    [
        (None, print, "rows must be iterable, got None"),
        (print, [1], "rows must be iterable, got <built-in function print>"),
        ([1], None, "sink must be a function of one output, got None"),
    ],
)
def test_arguments_of_another_type_are_named(rows: Any, sink: Any, says: str) -> None:
    client = blocking.PredictClient("http://127.0.0.1:1", "svc", endpoint_type=ENDPOINT_TYPE_DIRECT)
    with pytest.raises(ConfigError) as caught:
        score(rows, sink, client=client)
    assert str(caught.value) == says


def test_a_partition_of_another_type_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^rows must be iterable, got Scoring\("):
        next(score_partition(Scoring("http://127.0.0.1:1", "svc"), [1]))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^scoring must be a Scoring, got \{'endpoint': 'x'\}$"):
        next(score_partition([1], {"endpoint": "x"}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^scoring must be a Scoring, got JobOptions\("):
        next(score_partition([1], JobOptions()))  # type: ignore[arg-type]


class TestDefaults:
    """Encoding and decoding without functions of the caller."""

    def test_text_bytes_and_requests_are_sent_as_they_are_and_other_rows_as_json(self) -> None:
        codec = JobOptions().codec()
        for row in ("[1]", b"[1]", StringRequest("[1]")):
            assert codec.request(Batch(0, [row])) is row
        assert codec.request(Batch(0, [{"a": 1}])) == JsonRequest({"a": 1})
        assert codec.outputs(Batch(0, [{}]), JsonResponse(b'{"score": 1}')) == ({"score": 1},)
        assert codec.outputs(Batch(0, [""]), StringResponse(b"0.5")) == ("0.5",)
        assert codec.outputs(Batch(0, [""]), None) == (None,)

    def test_a_batch_is_a_json_array_in_both_directions(self) -> None:
        codec = JobOptions(batch_size=2).codec()
        assert codec.request(Batch(0, [1, 2])).to_string() == b"[1,2]"
        assert codec.outputs(Batch(0, [1, 2]), JsonResponse(b"[3, 4]")) == [3, 4]
        with pytest.raises(ValueError, match="JSON array with one item for each row"):
            codec.outputs(Batch(0, [1, 2]), JsonResponse(b'{"a": 1}'))


class TestWorkers:
    """The limits of a job are divided among the workers that share the job."""

    def test_the_limits_are_divided(self) -> None:
        share = JobOptions(in_flight=64, rate_per_s=100).shared_by(8)
        assert (share.in_flight, share.rate_per_s) == (8, 12.5)
        assert JobOptions(in_flight=2).shared_by(8).in_flight == 1


class TestScoring:
    """`Scoring` has the settings of a service, and is pickled to other processes."""

    def test_it_is_a_frozen_value_that_can_be_pickled(self) -> None:
        scoring = Scoring("http://x", "svc", encode="json:dumps", in_flight=8, rate_per_s=10)
        assert pickle.loads(pickle.dumps(scoring)) == scoring  # noqa: S301
        with pytest.raises(AttributeError):
            scoring.in_flight = 9  # type: ignore[misc]
        assert scoring.but(in_flight=9).service == "svc"

    def test_the_token_is_read_where_it_is_needed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("EAS_TOKEN", "of the environment")
        (tmp_path / "token").write_text("of the file\n")
        assert Scoring("x", "y").token() == "of the environment"
        assert Scoring("x", "y", token_source="env:NOT_SET").token() == ""
        assert Scoring("x", "y", token_source=f"file:{tmp_path / 'token'}").token() == "of the file"
        assert Scoring("x", "y", token_source=lambda: "of a function").token() == "of a function"
        assert Scoring("x", "y", token_source="tests.bulk.test_options:given_token").token() == "of a name"
        assert Scoring("x", "y", token_source="").token() == ""

    def test_a_token_in_place_of_its_source_is_refused_and_not_shown(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Scoring("x", "y", token_source="s3cr3t")
        assert str(caught.value).startswith('token_source must be "env:NAME"')
        assert "s3cr3t" not in str(caught.value)

    @pytest.mark.parametrize("content", ["", None])
    def test_a_file_without_a_token_is_named(self, content: str | None, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / "token").write_text(content)
        with pytest.raises(ConfigError, match=f"{tmp_path}/token"):
            Scoring("x", "y", token_source=f"file:{tmp_path / 'token'}").token()

    def test_wrong_settings_are_named(self) -> None:
        with pytest.raises(ConfigError, match="endpoint must be a text that is not empty, got ''"):
            Scoring("", "y")
        with pytest.raises(ConfigError, match="config must be a ClientConfig or None"):
            Scoring("x", "y", config={"timeout_s": 3})  # type: ignore[arg-type]


def given_token() -> str:
    return "of a name"
