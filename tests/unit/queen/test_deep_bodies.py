"""A body that is nested deeper than anything here can go is refused at the door, in every dialect."""

import pytest
from aiohttp import ClientSession

from tests.unit.queen.conftest import TOKEN, Running

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
NESTED = f"{'[' * 400}{']' * 400}"
SCHEMA = f'{{"const": {NESTED}}}'
MESSAGES = '"model": "tiny", "messages": [{"role": "user", "content": "hi"}]'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/tasks", f'{{"model": "tiny", "prompt": "hi", "schema": {SCHEMA}}}'),
        ("/v2/tasks", f'{{"surprise": {NESTED}}}'),
        ("/v1/chat/completions", f'{{{MESSAGES}, "tools": [{{"function": {{"name": "f", "parameters": {SCHEMA}}}}}]}}'),
        ("/v1/chat/completions", f'{{{MESSAGES}, "metadata": {NESTED}}}'),
        ("/v1/completions", f'{{"model": "tiny", "prompt": "hi", "suffix": {NESTED}}}'),
        ("/v1/embeddings", f'{{"model": "tiny", "input": {NESTED}}}'),
        ("/v1/rerank", f'{{"model": "tiny", "query": "q", "documents": {NESTED}}}'),
        ("/v1/responses", f'{{"model": "tiny", "input": {NESTED}}}'),
        ("/v1/messages", f'{{{MESSAGES}, "max_tokens": 1, "thinking": {NESTED}}}'),
        ("/v1/messages/count_tokens", f'{{{MESSAGES}, "output_config": {{"format": {SCHEMA}}}}}'),
        ("/api/chat", f'{{{MESSAGES}, "format": {SCHEMA}}}'),
        ("/api/generate", f'{{"model": "tiny", "options": {NESTED}}}'),
        ("/api/embed", f'{{"model": "tiny", "input": {NESTED}}}'),
        ("/api/show", f'{{"model": {NESTED}}}'),
        ("/v2/pools/blep/heartbeat", f'{{"surprise": {NESTED}}}'),
    ],
)
async def test_a_deep_body_is_refused_with_the_number(queen: Running, path: str, body: str) -> None:
    async with ClientSession(headers=HEADERS) as http, http.post(f"{queen.url}{path}", data=body) as answer:
        told = await answer.text()
    assert (answer.status, "at most 100 objects and lists" in told) == (400, True), told
