"""`openai` without our transport, through the gateway of a simulator with the processor `llm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import EXAMPLES
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

openai: Any = pytest.importorskip("openai")

MESSAGES = [{"role": "user", "content": "Hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: TempPathFactory) -> Iterator[Served]:
    arguments = ("--service", "chat=2", "--token", "s3cret", "--processor", "llm:ttft=0.01,tokens_per_s=100")
    with Served(tmp_path_factory.mktemp("openai"), *arguments) as found:
        yield found


@pytest.fixture
def base_url(served: Served) -> str:
    return f"{served.ready['url']}/api/predict/chat/v1"


@pytest.fixture
def llm(base_url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=base_url, api_key="s3cret", max_retries=0) as client:
        yield client


def test_a_stream_says_what_the_whole_answer_says(llm: Any) -> None:
    whole = llm.chat.completions.create(model="llm", messages=MESSAGES)
    events = list(
        llm.chat.completions.create(model="llm", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole._request_id == whole.id


def test_models_and_embeddings(llm: Any) -> None:
    assert [model.id for model in llm.models.list()] == ["llm"]
    assert llm.models.retrieve("llm").id == "llm"
    found = llm.embeddings.create(model="llm", input=["a", "b"])
    assert [len(row.embedding) for row in found.data] == [64, 64]


def test_a_tool_call_whole_and_streamed(llm: Any) -> None:
    asked = {"model": "llm", "messages": [{"role": "user", "content": "get time of Rome"}], "tools": TOOLS}
    (call,) = llm.chat.completions.create(**asked).choices[0].message.tool_calls
    with llm.chat.completions.stream(**asked) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (streamed.id, streamed.function.name) == (call.id, "get_time")
    assert json.loads(streamed.function.arguments) == json.loads(call.function.arguments)


def test_errors_are_of_openais_exception_classes(llm: Any, base_url: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        llm.chat.completions.create(model="no", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        llm.chat.completions.create(model="llm", messages=[])
    with pytest.raises(openai.NotFoundError):
        llm.responses.create(model="llm", input="x")
    wrong = llm.with_options(api_key="wrong", base_url=base_url)
    with pytest.raises(openai.AuthenticationError):
        wrong.models.list()


def test_a_program_that_leaves_a_stream_early_ends_it(llm: Any, served: Served) -> None:
    stream = llm.chat.completions.create(model="llm", messages=MESSAGES, stream=True)
    next(stream)
    stream.close()
    for _ in range(200):
        if served.admin("POST", "/v1/requests/count", {"stream": "client_closed"})[1]["count"]:
            break
    else:
        pytest.fail("the stream did not end")
    assert served.admin("GET", "/v1/streams")[1]["total"] == 0


def test_the_example_of_the_page_runs(base_url: str) -> None:
    variables = {**environment(), "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "s3cret"}
    variables["PYTHONWARNINGS"] = os.environ.get("PYTHONWARNINGS", "default")
    command = [sys.executable, str(EXAMPLES / "openai_chat.py")]
    found = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert (found.returncode, bool(found.stdout)) == (0, True), found.stderr
