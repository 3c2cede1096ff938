"""`POST /v1/chat/completions`: answers messages with a message or a tool call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulator.processors.llm.answers import (
    answer_events,
    answer_whole,
    check_one,
    common_fields,
    wants_usage,
    with_usage,
)
from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.generation import Generation, Limits, generate, rng_for
from simulator.processors.llm.tools import Tool, call_of, choose_tool, read_tools
from simulator.processors.llm.words import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from simulator.processors.llm.answers import Event
    from simulator.processors.llm.processor import Llm
    from simulator.processors.requests import ProcessorRequest


def respond(llm: Llm, request: ProcessorRequest) -> Any:
    """Answer a chat request."""
    body = llm.read(request)
    check_one(body)
    messages = _read_messages(body)
    tools = read_tools(body)
    include_usage = wants_usage(body)
    prompt = _prompt(messages, tools)
    rng = rng_for(request, body["model"], prompt, body)
    last = messages[-1]
    tool = choose_tool(body, tools, _text_of(last) if last["role"] == "user" else "")
    if tool is not None:
        text: str | None = json.dumps(value_of(tool.parameters, rng), ensure_ascii=False)
    else:
        text = _formatted(body, rng)
    made = generate(llm, request, prompt, Limits.read(body), rng, text)
    kind = "chat.completion.chunk" if body.get("stream") else "chat.completion"
    head = common_fields(request, "chatcmpl", kind, body["model"])
    call_id = f"call_{rng.getrandbits(96):024x}"
    if body.get("stream"):
        events = _text_events(head, made) if tool is None else _tool_events(head, made, tool, call_id)
        return answer_events(with_usage(head, events, made.usage() if include_usage else None), head["id"])
    message: dict[str, Any] = {"role": "assistant", "content": made.text, "refusal": None}
    if tool is not None:
        message |= {"content": None, "tool_calls": [call_of(tool, call_id, made.text)]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(made, tool)}
    return answer_whole({**head, "choices": [choice], "usage": made.usage()}, made.total_s)


def _reason(made: Generation, tool: Tool | None) -> str:
    return "tool_calls" if tool is not None and made.finish_reason == "stop" else made.finish_reason


def _event(head: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}


def _text_events(head: dict[str, Any], made: Generation) -> Iterator[Event]:
    yield made.first_s, _event(head, {"role": "assistant", "content": ""})
    for at, piece in enumerate(made.pieces):
        yield made.gap_s if at else 0.0, _event(head, {"content": piece})
    yield 0.0, _event(head, {}, made.finish_reason)


def _tool_events(head: dict[str, Any], made: Generation, tool: Tool, call_id: str) -> Iterator[Event]:
    first = {"index": 0, **call_of(tool, call_id, "")}
    yield made.first_s, _event(head, {"role": "assistant", "content": None, "tool_calls": [first]})
    for at, piece in enumerate(made.pieces):
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        yield made.gap_s if at else 0.0, _event(head, delta)
    yield 0.0, _event(head, {}, _reason(made, tool))


def _read_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise LlmError("'messages' must be a list of at least one message", param="messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise LlmError(f"'messages[{at}]' must be an object with a 'role'", param=f"messages[{at}]")
        content = message.get("content")
        is_list = isinstance(content, list) and all(isinstance(part, dict) for part in content)
        if not (content is None or isinstance(content, str) or is_list):
            raise LlmError(
                f"'messages[{at}].content' must be a string or a list of parts", param=f"messages[{at}].content"
            )
    return messages


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(
            part["text"] if isinstance(part.get("text"), str) else f"<{part.get('type')}>" for part in content
        )
    return content or ""


def _prompt(messages: list[dict[str, Any]], tools: list[Tool]) -> str:
    """Build the prompt. The conversation's next prompt begins with it, so that the prefix cache has an effect."""
    parts = [f"<|tools|>\n{json.dumps([tool.given for tool in tools])}\n"] if tools else []
    for message in messages:
        calls = json.dumps(message["tool_calls"]) if message.get("tool_calls") else ""
        parts.append(f"<|{message['role']}|>\n{_text_of(message)}{calls}\n")
    return "".join([*parts, "<|assistant|>\n"])


def _formatted(body: dict[str, Any], rng: Random) -> str | None:
    """Return the text of an answer in JSON; `None` if the request does not require JSON."""
    wanted = body.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return json.dumps({"answer": value_of({"type": "string"}, rng)})
    if kind == "json_schema" and isinstance(wanted.get("json_schema"), dict):
        return json.dumps(value_of(wanted["json_schema"].get("schema", {}), rng), ensure_ascii=False)
    raise LlmError("'response_format' must be text, json_object or json_schema", param="response_format")
