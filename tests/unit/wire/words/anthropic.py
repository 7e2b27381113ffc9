"""What Anthropic's client can say."""

from anthropic.types import TextBlockParam, ToolParam, ToolResultBlockParam, ToolUseBlockParam
from anthropic.types import message_count_tokens_params as counting
from anthropic.types import message_create_params as creating
from anthropic.types.beta import message_create_params as beta

from rbee.wire import anthropic
from tests.unit.wire.words.table import SCHEMA, USER, Table, Words, typed

TEXT = {"type": "text", "text": "hi"}
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
FLAT_FORM = {"type": "json_schema", "schema": SCHEMA}
THEIR_TOOL = {"name": "f", "input_schema": SCHEMA}
MESSAGES: Words = {
    "messages": [{"role": "user", "content": "ho"}], "model": "big", "max_tokens": 5, "stop_sequences": ["x"],
    "stream": True, "system": "Be brief.", "tool_choice": {"type": "none"}, "tools": [THEIR_TOOL],
    "metadata": {"user_id": "ann"}, "output_config": {"format": FLAT_FORM},
}  # fmt: skip
MESSAGES_IDLE: Words = {
    "cache_control": {"type": "ephemeral"}, "diagnostics": {"previous_message_id": "m"}, "inference_geo": "eu",
    "service_tier": "auto", "user_profile_id": "p", "workspace_id": "w",
}  # fmt: skip
MESSAGES_REFUSED: Words = {"container": "c", "speed": "fast", "thinking": {"type": "adaptive"}}
BETA_IDLE: Words = {
    "betas": ["x"], "billing_policy": {"type": "billing_policy", "bill_to": "self"}, "fallback_credit_token": "t",
    "fallbacks": "default",
}  # fmt: skip
BETA_REFUSED: Words = {
    "compaction": {"type": "x"}, "context_management": {"edits": []}, "mcp_servers": [{}],
    "thread": {"type": "create"},
}  # fmt: skip

TABLES = (
    Table(
        name="anthropic",
        said=typed(creating.MessageCreateParamsStreaming),
        parse=anthropic.parse,
        base={"model": "tiny", "max_tokens": 9, "messages": [USER], "tools": [{"name": "g", "input_schema": {}}]},
        honoured={**MESSAGES, "temperature": 0.5, "top_k": 3, "top_p": 0.5, "output_format": FLAT_FORM},
        idle=MESSAGES_IDLE,
        refused=MESSAGES_REFUSED,
        also=frozenset({"temperature", "top_k", "top_p", "output_format"}),
    ),
    Table(
        name="anthropic's beta",
        said=typed(beta.MessageCreateParamsStreaming),
        parse=anthropic.parse,
        base={"model": "tiny", "max_tokens": 9, "messages": [USER], "tools": [{"name": "g", "input_schema": {}}]},
        honoured=MESSAGES,
        idle={**MESSAGES_IDLE, **BETA_IDLE},
        refused={**MESSAGES_REFUSED, **BETA_REFUSED},
    ),
    Table(
        name="anthropic's counting",
        said=typed(counting.MessageCountTokensParams),
        parse=anthropic.parse_count,
        base={"model": "tiny", "messages": [USER], "tools": [{"name": "g", "input_schema": {}}]},
        honoured={
            each: MESSAGES[each] for each in ("messages", "model", "output_config", "system", "tool_choice", "tools")
        },
        idle={each: MESSAGES_IDLE[each] for each in ("cache_control", "user_profile_id", "workspace_id")},
        refused={each: MESSAGES_REFUSED[each] for each in ("speed", "thinking")},
    ),
    Table(
        name="anthropic's tool",
        said=typed(ToolParam),
        parse=anthropic.parse,
        base={"name": "f", "input_schema": {"type": "object"}},
        whole=lambda tool: {"model": "tiny", "max_tokens": 9, "messages": [USER], "tools": [tool]},
        honoured={"name": "g", "description": "x", "input_schema": SCHEMA, "input_examples": [{"a": "b"}]},
        idle={
            "cache_control": {"type": "ephemeral"}, "defer_loading": True, "eager_input_streaming": True,
            "strict": True,
        },
        refused={"allowed_callers": ["code_execution_20250825"], "type": "bash_20250124"},
    ),
    Table(
        name="anthropic's text",
        said=typed(TextBlockParam),
        parse=anthropic.parse,
        base={"type": "text", "text": "a"},
        whole=lambda block: {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]},
        honoured={"text": "b"},
        idle={"cache_control": {"type": "ephemeral"}, "citations": []},
        refused={"type": "image"},
    ),
    Table(
        name="anthropic's use of a tool",
        said=typed(ToolUseBlockParam),
        parse=anthropic.parse,
        base=USE,
        whole=lambda block: {
            "model": "tiny", "max_tokens": 9, "messages": [{"role": "assistant", "content": [block]}, USER],
        },
        honoured={"id": "c2", "name": "g", "input": {"a": 1}},
        idle={"cache_control": {"type": "ephemeral"}, "caller": {"type": "direct"}, "toolset_name": "x"},
        refused={"type": "server_tool_use"},
    ),
    Table(
        name="what anthropic's tool gave",
        said=typed(ToolResultBlockParam),
        parse=anthropic.parse,
        base={"type": "tool_result", "tool_use_id": "c1"},
        whole=lambda block: {
            "model": "tiny",
            "max_tokens": 9,
            "messages": [USER, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [block, TEXT]}],
        },
        honoured={"tool_use_id": "c2", "content": "x", "is_error": True},
        idle={"cache_control": {"type": "ephemeral"}, "toolset_name": "x"},
        refused={"type": "web_search_tool_result"},
    ),
)  # fmt: skip
