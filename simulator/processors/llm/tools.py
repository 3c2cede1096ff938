"""The tools of a chat: the choice of a tool, and the tool call."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from simulator.processors.llm.errors import LlmError


@frozen
class Tool:
    """A function that the model may call.

    Attributes:
        name: Name of the function.
        parameters: JSON Schema of its arguments.
        given: The tool as given in the request.
    """

    name: str
    parameters: Any
    given: dict[str, Any]


def read_tools(body: dict[str, Any]) -> list[Tool]:
    """Read the tools of a request.

    Raises:
        LlmError: A tool is not a function with a name.
    """
    tools = body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise LlmError("'tools' must be a list", param="tools")
    return [_read_tool(at, tool) for at, tool in enumerate(tools)]


def _read_tool(at: int, tool: Any) -> Tool:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise LlmError(f"'tools[{at}]' must be a function with a name", param=f"tools[{at}]")
    return Tool(function["name"], function.get("parameters") or {"type": "object"}, tool)


def choose_tool(body: dict[str, Any], tools: list[Tool], asked: str) -> Tool | None:
    """Choose the tool to call.

    Args:
        body: The request, with its `tool_choice`: `none`, `auto`, `required`, or a function.
        tools: Tools of the request.
        asked: Text of the last message, if its role is `user`; otherwise empty. With `auto` a tool is called when the
            text contains its name, with underscores or with spaces in their place.

    Returns:
        1. The tool.
        2. `None` if the answer is a text.

    Raises:
        LlmError: The choice is not one of the tools.
    """
    choice = body.get("tool_choice")
    if choice is None:
        choice = "auto" if tools else "none"
    if choice == "none":
        return None
    if not tools:
        raise LlmError("'tool_choice' is only allowed with 'tools'", param="tool_choice")
    named = _named_in(asked.casefold(), tools)
    if choice == "auto":
        return named
    if choice == "required":
        return named or tools[0]
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    for tool in tools:
        if tool.name == name:
            return tool
    raise LlmError(f"'tool_choice' must be none, auto, required or one of the tools, got {name!r}", param="tool_choice")


def _named_in(text: str, tools: list[Tool]) -> Tool | None:
    names = [(tool, tool.name.casefold()) for tool in tools]
    return next((tool for tool, name in names if name in text or name.replace("_", " ") in text), None)


def call_of(tool: Tool, call_id: str, arguments: str) -> dict[str, Any]:
    """Build a tool call, as a message contains it."""
    return {"id": call_id, "type": "function", "function": {"name": tool.name, "arguments": arguments}}
