"""The processor `llm`: the OpenAI API of a simulated instance, on a virtual clock."""

from __future__ import annotations

import base64
import json
import struct
from math import sqrt
from typing import Any

import pytest

from simulator import ServiceSpec
from simulator.processors import Llm, ProcessorError, find
from simulator.processors.llm.prefix_cache import BLOCK_TOKENS, PrefixCache
from simulator.processors.llm.words import split_tokens
from tests.simulator.region import Region, Wire
from tests.simulator.test_streaming import chunks

CHAT = "/v1/chat/completions"
FAST = "llm:ttft=0.1,tokens_per_s=10,prefill_tokens_per_s=0"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["C", "F"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 3},
                "note": {"type": "string"},
            },
            "required": ["city", "unit", "days"],
        },
    },
}


def room_with(processor: str = FAST, seed: int = 1, **more: Any) -> Region:
    return Region(ServiceSpec("chat", more.pop("instances", 1), processor=processor, **more), seed=seed)


def send(region: Region, body: Any, path: str = CHAT, method: str = "POST") -> Wire:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /api/predict/chat{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    return region.connect().send(head.encode() + data)


def ask(region: Region, path: str = CHAT, method: str = "POST", wait_s: float = 30.0, **body: Any) -> tuple[int, Any]:
    wire = send(region, {"model": "llm", **body} if method == "POST" else None, path, method)
    region.wait(wait_s)
    return wire.status, json.loads(wire.body)


def chat(region: Region, text: str = "Hello", **more: Any) -> Any:
    status, answer = ask(region, messages=[{"role": "user", "content": text}], **more)
    assert status == 200, answer
    return answer


def stream(region: Region, text: str = "Hello", **more: Any) -> list[Any]:
    body = {"model": "llm", "messages": [{"role": "user", "content": text}], "stream": True, **more}
    wire = send(region, body)
    region.wait(30.0)
    return events(wire)


def events(wire: Wire) -> list[Any]:
    assert wire.headers["content-type"].startswith("text/event-stream")
    *blocks, last, rest = b"".join(chunks(wire)).split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    return [json.loads(block.removeprefix(b"data: ")) for block in blocks]


# Chat


def test_the_same_seed_and_prompt_have_the_same_words() -> None:
    texts = []
    for seed, prompt in ((1, "a"), (1, "a"), (1, "b"), (2, "a")):
        region = room_with(seed=seed)
        texts.append(chat(region, prompt)["choices"][0]["message"]["content"])
        region.close()
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_response_has_the_fields_of_openais_api() -> None:
    region = room_with()
    answer = chat(region, max_tokens=5)
    (choice,) = answer["choices"]
    assert (answer["object"], answer["model"], answer["system_fingerprint"]) == ("chat.completion", "llm", "chat-0")
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "length")
    assert len(split_tokens(choice["message"]["content"])) == 5
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    region.close()


def test_a_stream_says_what_the_whole_answer_says() -> None:
    region = room_with()
    told = stream(region)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in told)
    whole = chat(region)["choices"][0]
    assert text == whole["message"]["content"]
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert told[-1]["choices"][0]["finish_reason"] == whole["finish_reason"] == "stop"
    assert len({event["id"] for event in told}) == 1
    assert "usage" not in told[0]
    region.close()


def test_the_last_event_has_the_usage_if_requested() -> None:
    region = room_with()
    told = stream(region, stream_options={"include_usage": True}, max_tokens=4)
    assert [event["usage"] for event in told[:-1]] == [None] * (len(told) - 1)
    assert (told[-1]["choices"], told[-1]["usage"]["completion_tokens"]) == ([], 4)
    region.close()


def test_tokens_are_sent_at_the_configured_rate() -> None:
    region = room_with()
    wire = send(region, {"model": "llm", "messages": [{"role": "user", "content": "x"}], "stream": True})
    region.wait(0.05)
    assert (wire.status, wire.body) == (200, b"")
    region.wait(0.07)
    counts = []
    for _ in range(4):
        counts.append(wire.body.count(b'"content":') - 1)
        region.wait(0.1)
    assert counts == [1, 2, 3, 4]
    region.wait(30.0)
    assert region.world.journal.rows[-1].first_byte_s == pytest.approx(0.1, abs=0.01)
    region.close()


def test_a_complete_response_takes_as_long_as_its_tokens() -> None:
    region = room_with()
    wire = send(region, {"model": "llm", "messages": [{"role": "user", "content": "x"}], "max_tokens": 11})
    region.wait(1.0)
    assert wire.received == b""
    region.wait(0.2)
    assert wire.status == 200
    region.close()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_number_of_tokens_is_limited_by_the_request(name: str) -> None:
    region = room_with()
    answer = chat(region, **{name: 3})
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (3, "length")
    region.close()


def test_with_ignore_eos_the_response_has_the_maximum_length() -> None:
    region = room_with("llm:ttft=0,tokens_per_s=0")
    assert chat(region, max_tokens=500, ignore_eos=True)["usage"]["completion_tokens"] == 500
    region.close()


def test_a_stop_ends_the_text_before_it() -> None:
    region = room_with()
    whole = chat(region)["choices"][0]["message"]["content"]
    stop = whole[10:14]
    choice = chat(region, stop=[stop, "nowhere in it"])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (whole[: whole.index(stop)], "stop")
    region.close()


@pytest.mark.parametrize(
    ("wanted", "check"),
    [
        ({"type": "json_object"}, lambda value: isinstance(value, dict)),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": TOOL["function"]["parameters"]}},  # type: ignore[index]
            lambda value: value["unit"] in ("C", "F") and 1 <= value["days"] <= 3 and "note" not in value,
        ),
    ],
)
def test_a_response_is_json_if_requested(wanted: Any, check: Any) -> None:
    region = room_with()
    assert check(json.loads(chat(region, response_format=wanted)["choices"][0]["message"]["content"]))
    region.close()


# Tools


@pytest.mark.parametrize(
    ("prompt", "choice", "is_called"),
    [
        ("what is the time", None, False),
        ("please get time of Rome", None, True),
        ("call GET_TIME", "auto", True),
        ("call get_time", "none", False),
        ("what is the time", "required", True),
        ("what is the time", {"type": "function", "function": {"name": "get_time"}}, True),
    ],
)
def test_when_a_tool_is_called(prompt: str, choice: Any, is_called: bool) -> None:  # noqa: FBT001
    region = room_with()
    more = {} if choice is None else {"tool_choice": choice}
    (answer,) = chat(region, prompt, tools=[TOOL], **more)["choices"]
    assert (answer["finish_reason"] == "tool_calls") is is_called
    assert ("tool_calls" in answer["message"]) is is_called
    if is_called:
        (call,) = answer["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        assert (call["type"], call["function"]["name"]) == ("function", "get_time")
        assert set(arguments) == {"city", "unit", "days"}
    region.close()


def test_a_streamed_tool_call_has_the_values_of_the_complete_one() -> None:
    region = room_with()
    deltas = [event["choices"][0]["delta"] for event in stream(region, tools=[TOOL], tool_choice="required")]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    whole = chat(region, tools=[TOOL], tool_choice="required")["choices"][0]["message"]["tool_calls"][0]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == (whole["id"], "get_time")
    assert "".join(call["function"]["arguments"] for call in calls) == whole["function"]["arguments"]
    assert len(calls) > 2
    region.close()


def test_the_response_to_the_result_of_a_tool_is_text() -> None:
    region = room_with()
    messages = [
        {"role": "user", "content": "get time"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]},
        {"role": "tool", "tool_call_id": "c", "content": "get_time: 20 C"},
    ]
    _, answer = ask(region, messages=messages, tools=[TOOL])
    assert answer["choices"][0]["finish_reason"] == "stop"
    region.close()


# Completions, embeddings, models


def test_completions_of_several_prompts() -> None:
    region = room_with()
    status, answer = ask(region, "/v1/completions", prompt=["a b", "c"], max_tokens=3)
    assert (status, answer["object"]) == (200, "text_completion")
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 6
    wire = send(region, {"model": "llm", "prompt": "a b", "max_tokens": 3, "stream": True}, "/v1/completions")
    region.wait(5.0)
    text = "".join(event["choices"][0]["text"] for event in events(wire))
    assert text == answer["choices"][0]["text"]
    region.close()


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    region = room_with()
    _, answer = ask(region, "/v1/embeddings", input=["a", "b", "a"])
    vectors = [row["embedding"] for row in answer["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sqrt(sum(value**2 for value in vectors[0])) == pytest.approx(1.0)
    _, packed = ask(region, "/v1/embeddings", input="a", encoding_format="base64", dimensions=8)
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert len(struct.unpack("<8f", raw)) == 8
    region.close()


def test_the_model_is_listed_and_others_are_404() -> None:
    region = room_with("llm:models=small|large")
    _, listed = ask(region, "/v1/models", "GET")
    assert [model["id"] for model in listed["data"]] == ["small", "large"]
    assert ask(region, "/v1/models/large", "GET")[1]["id"] == "large"
    assert ask(region, "/v1/models/huge", "GET")[0] == 404
    assert ask(region, messages=[{"role": "user", "content": "x"}])[0] == 404  # no model is named `llm`
    region.close()


def test_a_model_may_accept_any_name() -> None:
    region = room_with("llm:models=*")
    assert ask(region, model="gpt-9", messages=[{"role": "user", "content": "x"}])[1]["model"] == "gpt-9"
    region.close()


# Errors


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": []}, "messages", None),
        ({"messages": [{"content": "x"}]}, "messages[0]", None),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", None),
        ({"n": 2}, "n", None),
        ({"max_tokens": 0}, "max_tokens", None),
        ({"stop": [""]}, "stop", None),
        ({"stream": "yes"}, "stream", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"tools": [{"type": "function"}]}, "tools[0]", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"response_format": {"type": "xml"}}, "response_format", None),
        ({"max_tokens": 1_000_000}, "messages", "context_length_exceeded"),
        ({"model": ""}, "model", None),
    ],
)
def test_a_bad_request_is_a_400_that_names_the_parameter(body: Any, param: str, code: str | None) -> None:
    region = room_with()
    status, answer = ask(region, **{"messages": [{"role": "user", "content": "x"}], **body})
    error = answer["error"]
    assert (status, error["type"], error["param"], error["code"]) == (400, "invalid_request_error", param, code)
    assert error["message"]
    region.close()


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_a_400(data: bytes) -> None:
    region = room_with()
    head = f"POST /api/predict/chat{CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    wire = region.connect().send(head + data)
    region.wait(0.1)
    assert (wire.status, json.loads(wire.body)["error"]["type"]) == (400, "invalid_request_error")
    region.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "", 404), ("GET", CHAT, 405), ("DELETE", "/v1/models", 405)],
)
def test_paths_and_methods_that_do_not_exist(method: str, path: str, status: int) -> None:
    region = room_with()
    found, answer = ask(region, path, method)
    assert (found, answer["error"]["type"]) == (status, "invalid_request_error")
    region.close()


# Prefix cache


def test_a_repeated_prompt_is_faster_and_its_cached_tokens_are_counted() -> None:
    region = room_with("llm:ttft=0.1,tokens_per_s=0,prefill_tokens_per_s=100")
    prompt = " ".join(f"w{number}" for number in range(200))
    cached, first_s = [], []
    for _ in range(2):
        cached.append(chat(region, prompt)["usage"]["prompt_tokens_details"]["cached_tokens"])
        first_s.append(region.world.journal.rows[-1].elapsed_s)
    assert cached[0] == 0
    assert 180 < cached[1] < 220
    assert first_s[0] == pytest.approx(2.2, abs=0.2)
    assert first_s[1] < 0.3
    region.close()


def test_the_next_request_of_a_conversation_uses_the_cached_prefix() -> None:
    region = room_with()
    prompt = " ".join(f"w{number}" for number in range(100))
    text = chat(region, prompt)["choices"][0]["message"]["content"]
    messages = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": text},
        {"role": "user", "content": "and then?"},
    ]
    _, answer = ask(region, messages=messages)
    usage = answer["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 100 + len(split_tokens(text)) - BLOCK_TOKENS
    region.close()


def test_each_instance_has_its_own_cache_and_a_crash_empties_it() -> None:
    region = room_with(instances=2)
    prompt = " ".join(["word"] * 100)

    def cached(instance: str) -> int:
        body = json.dumps({"model": "llm", "messages": [{"role": "user", "content": prompt}]}).encode()
        wire = region.ask(body, path=CHAT, port=region.world.instance(instance).port)
        region.wait(20.0)
        return int(json.loads(wire.body)["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert [cached("chat-0"), cached("chat-1")] == [0, 0]
    assert cached("chat-0") > 90
    region.world.instance("chat-0").crash()
    region.world.instance("chat-0").restart()
    assert [cached("chat-0"), cached("chat-1") > 90] == [0, True]
    region.close()


def test_the_cache_is_bounded_and_drops_the_least_recently_used_blocks() -> None:
    cache = PrefixCache(4)
    first, second, third = ([f"{name}{at}" for at in range(2 * BLOCK_TOKENS + 1)] for name in "abc")
    for prompt in (first, second, first, third):
        cache.take(prompt)
    assert len(cache) == 4
    assert cache.take(first) == 2 * BLOCK_TOKENS
    assert cache.take(second) == 0


def test_the_last_token_is_never_cached() -> None:
    cache = PrefixCache(10)
    prompt = [str(at) for at in range(2 * BLOCK_TOKENS)]
    cache.take(prompt)
    assert cache.take(prompt) == BLOCK_TOKENS


@pytest.mark.parametrize("text", ["", "a b", "  Hallo, Welt!\n\n你好世界 antidisestablishmentarianism ", "\t\n "])
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


# Settings


def test_settings_are_read_from_the_processors_name() -> None:
    found = find("llm:ttft=uniform:0.1,0.2,tokens_per_s=lognormal:30,60,models=a|b,cache_tokens=0", "chat")
    assert isinstance(found, Llm)
    assert (found.ttft.parameters, found.models, found.cache_tokens) == ((0.1, 0.2), ("a", "b"), 0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("llm:colour=red", "expected NAME=VALUE with one of ttft, tokens_per_s"),
        ("llm:ttft=fast", "ttft: expected a number or such as uniform:20,60, got 'fast'"),
        ("llm:cache_tokens=-1", "cache_tokens must be a number from 0"),
        ("llm:models=", "models must be names"),
    ],
)
def test_the_error_of_a_wrong_setting_names_it(name: str, says: str) -> None:
    with pytest.raises(ProcessorError, match=says.replace("|", r"\|")):
        find(name, "chat")


def test_a_language_model_has_many_workers_by_default() -> None:
    names = ["llm", "llm:ttft=1", "llm+gzip", Llm(), "echo"]
    assert [ServiceSpec("s", processor=name).workers for name in names] == [256, 256, 256, 256, 5]
    assert ServiceSpec("s", processor="llm", workers=3).workers == 3
