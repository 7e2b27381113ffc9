"""What OpenAI's client can say of responses."""

from openai.types.responses import EasyInputMessageParam, FunctionToolParam, response_create_params
from openai.types.responses.response_function_tool_call_param import ResponseFunctionToolCallParam
from openai.types.responses.response_input_item_param import FunctionCallOutput
from openai.types.shared_params import Reasoning

from rbee.wire import responses
from tests.unit.wire.words.table import SCHEMA, Table, typed

FLAT_TOOL = {"type": "function", "name": "f", "parameters": SCHEMA}

TABLES = (
    Table(
        name="responses",
        said=typed(response_create_params.ResponseCreateParamsStreaming),
        parse=responses.parse,
        base={"model": "tiny", "input": "hi"},
        honoured={
            "model": "big", "input": "ho", "include": ["message.output_text.logprobs"], "instructions": "Be brief.",
            "max_output_tokens": 5, "metadata": {"a": "b"}, "parallel_tool_calls": False, "previous_response_id": "r",
            "prompt_cache_key": "k", "store": False, "stream": True, "temperature": 0.5, "top_p": 0.5,
            "text": {"format": {"type": "json_object"}}, "tools": [FLAT_TOOL], "tool_choice": "none",
            "top_logprobs": 2, "user": "ann",
        },
        idle={
            "access_programs": {"cyber": "standard"}, "background_options": {"completion_window": "soonest"},
            "image": {}, "max_tool_calls": 3, "prompt_cache_options": {"mode": "explicit"},
            "prompt_cache_retention": "24h", "safety_identifier": "x", "service_tier": "flex",
            "stream_options": {"include_obfuscation": False},
        },
        refused={
            "background": True, "context_management": [{"type": "compaction"}], "conversation": "c",
            "moderation": {"model": "x"}, "prompt": {"id": "p"}, "reasoning": {"effort": "high"}, "truncation": "auto",
        },
    ),
    Table(
        name="responses' reasoning",
        said=typed(Reasoning),
        parse=responses.parse,
        base={},
        whole=lambda said: {"model": "tiny", "input": "hi", "reasoning": said},
        idle={"context": "all_turns"},
        refused={"effort": "low", "generate_summary": "auto", "mode": "pro", "summary": "detailed"},
    ),
    Table(
        name="responses' function",
        said=typed(FunctionToolParam),
        parse=lambda body: responses.parse(body).spec(),
        base={"type": "function", "name": "f"},
        whole=lambda said: {"model": "tiny", "input": "hi", "tools": [said]},
        honoured={"name": "g", "description": "x", "parameters": SCHEMA},
        idle={"strict": True, "defer_loading": True, "output_schema": SCHEMA},
        refused={"allowed_callers": ["programmatic"], "async": True, "type": "custom"},
    ),
    Table(
        name="responses' message",
        said=typed(EasyInputMessageParam),
        parse=responses.parse,
        base={"role": "user", "content": "hi"},
        whole=lambda item: {"model": "tiny", "input": [item]},
        honoured={"content": "ho", "role": "developer"},
        idle={"type": "message", "phase": "commentary"},
    ),
    Table(
        name="responses' call",
        said=typed(ResponseFunctionToolCallParam),
        parse=responses.parse,
        base={"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        whole=lambda item: {"model": "tiny", "input": [item]},
        honoured={"arguments": "{}", "call_id": "d", "name": "g"},
        idle={"async": True, "caller": {"type": "direct"}, "id": "x", "namespace": "n", "status": "completed"},
        refused={"type": "custom_tool_call"},
    ),
    Table(
        name="what responses' call gave",
        said=typed(FunctionCallOutput),
        parse=responses.parse,
        base={"type": "function_call_output", "call_id": "c", "output": ""},
        whole=lambda item: {"model": "tiny", "input": [item]},
        honoured={"output": "x", "call_id": "d"},
        idle={"caller": {"type": "direct"}, "id": "x", "name": "f", "namespace": "n", "status": "completed"},
        refused={"type": "custom_tool_call_output"},
    ),
)  # fmt: skip
