"""Print a chat token by token, with plain `openai` on the simulator's gateway.

It reads its address and token from OPENAI_BASE_URL and OPENAI_API_KEY.
"""

import openai

llm = openai.OpenAI(max_retries=0)
events = llm.chat.completions.create(
    model="llm",
    messages=[{"role": "user", "content": "Hello"}],
    stream=True,
)
for event in events:
    print(event.choices[0].delta.content or "", end="", flush=True)
