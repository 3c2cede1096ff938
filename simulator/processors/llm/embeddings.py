"""`POST /v1/embeddings`: answers texts with unit vectors, which depend only on seed, model, text and dimensions."""

from __future__ import annotations

import base64
import struct
from math import sqrt
from random import Random
from typing import TYPE_CHECKING, Any

from simulator.processors.llm.answers import answer_whole
from simulator.processors.llm.completions import read_texts
from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.generation import whole
from simulator.processors.llm.words import split_tokens

if TYPE_CHECKING:
    from simulator.processors.llm.processor import Llm
    from simulator.processors.requests import ProcessorRequest

DIMENSIONS = 64
MAX_DIMENSIONS = 4096


def respond(llm: Llm, request: ProcessorRequest) -> Any:
    """Answer with a vector for each text."""
    body = llm.read(request)
    texts = read_texts(body, "input")
    dimensions = whole(body, "dimensions", 1) or DIMENSIONS
    if dimensions > MAX_DIMENSIONS:
        raise LlmError(f"'dimensions' must be at most {MAX_DIMENSIONS}", param="dimensions")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise LlmError("'encoding_format' must be float or base64", param="encoding_format")
    data = []
    for index, text in enumerate(texts):
        vector: Any = _vector(f"{request.seed}/{body['model']}/{text}", dimensions)
        if encoding == "base64":
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    count = sum(len(split_tokens(text)) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    value = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return answer_whole(value, llm.ttft.draw(request.rng))


def _vector(seed: str, dimensions: int) -> list[float]:
    rng = Random(seed)
    vector = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
