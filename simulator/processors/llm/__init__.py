"""A language model that speaks OpenAI's API: `python -m simulator --processor llm`.

Its words mean nothing, and are always the same for the same prompt and seed. What is real is everything around them:
events, timing, usage, a prefix cache, tool calls, and errors in OpenAI's form. The paths are below the service's own:
`/api/predict/SERVICE/v1/chat/completions`.
"""

from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.processor import Llm

__all__ = ["Llm", "LlmError"]
