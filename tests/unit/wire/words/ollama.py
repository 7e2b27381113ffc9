"""What Ollama's client can say."""

import ollama._types as theirs

from rbee.wire import ollama
from tests.unit.wire.words.table import SAMPLED, SCHEMA, USER, Table, Words, fields

TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
OLLAMAS: Words = {
    "model": "big", "options": {"seed": 1}, "format": "json", "keep_alive": 0, "stream": False, "logprobs": True,
    "top_logprobs": 2,
}  # fmt: skip

TABLES = (
    Table(
        name="ollama chat",
        said=fields(theirs.ChatRequest),
        parse=ollama.parse_chat,
        base={"model": "tiny", "messages": [USER]},
        honoured={**OLLAMAS, "messages": [{"role": "user", "content": "ho"}], "tools": [TOOL]},
        refused={"think": "high"},
    ),
    Table(
        name="ollama generate",
        said=fields(theirs.GenerateRequest),
        parse=ollama.parse_generate,
        base={"model": "tiny", "prompt": "hi"},
        honoured={**OLLAMAS, "prompt": "ho", "system": "Be brief.", "raw": True},
        refused={
            "context": [1], "images": ["x"], "suffix": "x", "template": "x", "think": True, "width": 8, "height": 8,
            "steps": 3,
        },
    ),
    Table(
        name="ollama's message",
        said=fields(theirs.Message),
        parse=ollama.parse_chat,
        base={"role": "assistant", "content": ""},
        whole=lambda message: {"model": "tiny", "messages": [USER, message]},
        honoured={"role": "tool", "content": "x", "tool_name": "f", "tool_calls": [{"function": {"name": "f"}}]},
        idle={"thinking": "hm"},
        refused={"images": ["x"]},
    ),
    Table(
        name="ollama's options",
        said=fields(theirs.Options),
        parse=ollama.parse_chat,
        base={},
        whole=lambda options: {"model": "tiny", "messages": [USER], "options": options},
        honoured={**SAMPLED, "num_ctx": 9, "num_predict": 5, "repeat_penalty": 1.5, "stop": ["x"], "top_k": 3,
                  "min_p": 0.2},
        idle={
            "f16_kv": True, "low_vram": True, "main_gpu": 1, "mirostat_eta": 0.5, "mirostat_tau": 3, "num_batch": 8,
            "num_gpu": 1, "num_keep": 3, "num_thread": 3, "numa": True, "use_mlock": True, "use_mmap": False,
        },
        refused={
            "embedding_only": True, "logits_all": True, "mirostat": 1, "penalize_newline": False, "repeat_last_n": 3,
            "tfs_z": 0.5, "typical_p": 0.5, "vocab_only": True,
        },
        also=frozenset({"min_p"}),
    ),
    Table(
        name="ollama embed",
        said=fields(theirs.EmbedRequest),
        parse=ollama.parse_embed,
        base={"model": "tiny", "input": "hi"},
        honoured={"model": "big", "input": "ho", "dimensions": 3, "keep_alive": 0, "options": {"num_ctx": 9}},
        idle={"truncate": False},
    ),
    Table(
        name="ollama embeddings",
        said=fields(theirs.EmbeddingsRequest),
        parse=ollama.parse_embedding,
        base={"model": "tiny", "prompt": "hi"},
        honoured={"model": "big", "prompt": "ho", "keep_alive": 0, "options": {"num_ctx": 9}},
    ),
    Table(
        name="ollama pull",
        said=fields(theirs.PullRequest),
        parse=ollama.parse_pull,
        base={"model": "tiny"},
        honoured={"model": "big", "stream": False},
        refused={"insecure": True},
    ),
    Table(
        name="ollama show",
        said=fields(theirs.ShowRequest),
        parse=ollama.parse_name,
        base={"model": "tiny"},
        honoured={"model": "big"},
    ),
)  # fmt: skip
