"""A simulated language model with OpenAI's API: `python -m simulator --processor llm`.

Its texts are random words, always the same for the same prompt and seed. Events, timing, usage, prefix cache, tool
calls and errors are like those of a real server. The paths are relative to the service's path:
`/api/predict/SERVICE/v1/chat/completions`.
"""

from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.processor import Llm

__all__ = ["Llm", "LlmError"]
