"""What OpenAI's client can say of chats, completions and vectors."""

from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chatting
from openai.types.chat.chat_completion_assistant_message_param import ChatCompletionAssistantMessageParam
from openai.types.chat.chat_completion_tool_message_param import ChatCompletionToolMessageParam
from openai.types.shared_params import FunctionDefinition

from rbee.wire import openai
from tests.unit.wire.words.table import SAMPLED, SCHEMA, USER, Table, Words, typed

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FORM = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
OPENAIS: Words = {**SAMPLED, "model": "big", "logit_bias": {"5": 1}, "stop": "x", "stream": True, "user": "ann",
                  "stream_options": {"include_usage": True}, "max_tokens": 5, "n": 2}  # fmt: skip

TABLES = (
    Table(
        name="openai chat",
        said=typed(chatting.CompletionCreateParamsStreaming),
        parse=openai.parse_chat,
        base={"model": "tiny", "messages": [USER], "tools": [TOOL], "logprobs": True},
        honoured={
            **OPENAIS, "messages": [{"role": "user", "content": "ho"}], "logprobs": False, "max_completion_tokens": 5,
            "response_format": FORM, "tools": [], "prompt_cache_key": "k", "parallel_tool_calls": False,
            "tool_choice": "none", "top_logprobs": 2,
        },
        idle={
            "metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"}, "service_tier": "flex",
            "prompt_cache_options": {"mode": "explicit"}, "prompt_cache_retention": "24h", "safety_identifier": "x",
            "store": True,
        },
        refused={
            "audio": {"voice": "x"}, "function_call": {"name": "f"}, "functions": [{"name": "f"}],
            "modalities": ["audio"], "moderation": {"model": "x"}, "reasoning_effort": "high", "verbosity": "low",
            "web_search_options": {},
        },
    ),
    Table(
        name="an assistant's message",
        said=typed(ChatCompletionAssistantMessageParam),
        parse=openai.parse_chat,
        base={"role": "assistant", "content": ""},
        whole=lambda message: {"model": "tiny", "messages": [USER, message, USER]},
        honoured={"content": "x", "name": "ann", "refusal": "no", "role": "user", "tool_calls": [CALL]},
        refused={"audio": {"id": "x"}, "function_call": {"name": "f"}},
    ),
    Table(
        name="a tool's message",
        said=typed(ChatCompletionToolMessageParam),
        parse=openai.parse_chat,
        base={"role": "tool", "tool_call_id": "c1", "content": ""},
        whole=lambda message: {"model": "tiny", "messages": [{"role": "assistant", "tool_calls": [CALL]}, message]},
        honoured={"content": "x", "role": "user", "tool_call_id": "c2"},
    ),
    Table(
        name="openai function",
        said=typed(FunctionDefinition),
        parse=openai.parse_chat,
        base={"name": "f"},
        whole=lambda said: {"model": "tiny", "messages": [USER], "tools": [{"type": "function", "function": said}]},
        honoured={"name": "g", "description": "x", "parameters": SCHEMA},
        idle={"strict": True},
    ),
    Table(
        name="openai completion",
        said=typed(completion_create_params.CompletionCreateParamsStreaming),
        parse=openai.parse_completion,
        base={"model": "tiny", "prompt": "hi"},
        honoured={**OPENAIS, "prompt": "ho", "echo": True, "logprobs": 1},
        refused={"suffix": "x", "best_of": 2},
    ),
    Table(
        name="openai embeddings",
        said=typed(embedding_create_params.EmbeddingCreateParams),
        parse=openai.parse_embeddings,
        base={"model": "tiny", "input": "hi"},
        honoured={"model": "big", "input": "ho", "dimensions": 3, "encoding_format": "base64", "user": "ann"},
    ),
)  # fmt: skip
