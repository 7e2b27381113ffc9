"""litellm, which speaks to any server of OpenAI's, Anthropic's and Ollama's dialects."""

import litellm
from steps import EMBEDDER, HELLO, MODEL, TOKEN, URL, WEATHER, run

OPENAI = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": TOKEN}
ANTHROPIC = {"model": f"anthropic/{MODEL}", "api_base": URL, "api_key": TOKEN}
OLLAMA = {"model": f"ollama_chat/{MODEL}", "api_base": URL, "api_key": TOKEN}
litellm.suppress_debug_info = True


def models() -> str:
    found = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_base=f"{URL}/v1", api_key=TOKEN
    )
    assert any(MODEL in each for each in found), found
    return ", ".join(found)


def chat(place: dict[str, str]) -> str:
    answer = litellm.completion(messages=HELLO, max_tokens=12, **place)
    assert answer.choices[0].message.content and answer.usage.completion_tokens > 0
    return str(answer.choices[0].message.content)


def stream(place: dict[str, str]) -> str:
    chunks = litellm.completion(messages=HELLO, max_tokens=12, stream=True, **place)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said
    return said


def tools(place: dict[str, str]) -> str:
    answer = litellm.completion(messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=60, **place)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    return str(call.function.arguments)


def ollama_tools() -> str:
    """Ollama's API cannot say that a tool is required."""
    answer = litellm.completion(messages=HELLO, tools=[WEATHER], max_tokens=60, **OLLAMA)
    calls = answer.choices[0].message.tool_calls
    return str(calls[0].function.arguments) if calls else "no call, which is the model's choice"


def responses() -> str:
    answer = litellm.responses(input="What is a llama?", max_output_tokens=16, **OPENAI)
    said = "".join(part.text for item in answer.output if item.type == "message" for part in item.content)
    assert said
    return said


def embeddings() -> str:
    if not EMBEDDER:
        return "no embedder here"
    place = OPENAI | {"model": f"openai/{EMBEDDER}"}
    found = litellm.embedding(input=["a", "b"], encoding_format="float", **place)
    assert len(found.data) == 2
    return f"{len(found.data[0]['embedding'])} numbers"


run(
    models=models,
    chat=lambda: chat(OPENAI),
    stream=lambda: stream(OPENAI),
    tools=lambda: tools(OPENAI),
    responses=responses,
    embeddings=embeddings,
    anthropic_chat=lambda: chat(ANTHROPIC),
    anthropic_stream=lambda: stream(ANTHROPIC),
    anthropic_tools=lambda: tools(ANTHROPIC),
    ollama_chat=lambda: chat(OLLAMA),
    ollama_stream=lambda: stream(OLLAMA),
    ollama_tools=ollama_tools,
)
