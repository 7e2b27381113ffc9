"""langchain-openai: the models behind most chains and agents, over chat completions and over Responses."""

import openai
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from steps import EMBEDDER, MODEL, TOKEN, URL, WEATHER, run

ASKED = "What is a llama?"
PLACE = {"model": MODEL, "base_url": f"{URL}/v1", "api_key": TOKEN}
CHAT = ChatOpenAI(**PLACE, max_tokens=60, use_responses_api=False)
RESPONSES = ChatOpenAI(**PLACE, max_tokens=60, use_responses_api=True)


def models() -> str:
    """LangChain does not list models; the client beneath it does."""
    with openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN) as client:
        return ", ".join(model.id for model in client.models.list())


def chat(model: ChatOpenAI) -> str:
    answer = model.invoke(ASKED)
    assert answer.text and answer.usage_metadata
    return answer.text


def stream(model: ChatOpenAI) -> str:
    said = "".join(chunk.text for chunk in model.stream(ASKED))
    assert said
    return said


def tools(model: ChatOpenAI) -> str:
    bound = model.bind_tools([WEATHER], tool_choice="weather")
    called = bound.invoke(ASKED)
    (call,) = called.tool_calls[:1]
    assert call["name"] == "weather"
    gave = [ToolMessage("sunny", tool_call_id=each["id"]) for each in called.tool_calls]
    assert model.invoke([("user", ASKED), called, *gave]).text is not None
    return str(call["args"])


def turns() -> str:
    """Go on from an answer that the queen has kept."""
    first = RESPONSES.invoke(ASKED)
    second = RESPONSES.invoke("And why?", previous_response_id=first.response_metadata["id"])
    assert second.response_metadata["id"] != first.response_metadata["id"]
    return second.text or "nothing"


def embeddings() -> str:
    if not EMBEDDER:
        return "no embedder here"
    made = OpenAIEmbeddings(**(PLACE | {"model": EMBEDDER}), check_embedding_ctx_length=False)
    return f"{len(made.embed_documents(['a', 'b'])[0])} numbers"


run(
    models=models,
    chat=lambda: chat(CHAT),
    stream=lambda: stream(CHAT),
    tools=lambda: tools(CHAT),
    responses_chat=lambda: chat(RESPONSES),
    responses_stream=lambda: stream(RESPONSES),
    responses_tools=lambda: tools(RESPONSES),
    responses_turns=turns,
    embeddings=embeddings,
)
