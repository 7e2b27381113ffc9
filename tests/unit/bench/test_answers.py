"""How the readers of bench.engine hear an answer, by what the three servers really send."""

import asyncio
import json

import pytest

from bench.answers import Answer, Reader, ask, read
from bench.processes import Process
from bench.servers import Server

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(*events: object) -> bytes:
    text = "".join(f"data: {json.dumps(event) if event != '[DONE]' else event}\n\n" for event in events).encode()
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


def piece(content: str | None, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 2}}
SAID = [chunk(piece(None)), chunk(piece("")), chunk(piece("a")), chunk(piece('"b'), USAGE, "[DONE]"), END]


async def test_pieces_of_text_are_timed_and_neither_headers_nor_empty_ones_are() -> None:
    reader = Reader()
    reader.data_received(HEAD)
    assert not reader.done.done()
    for part in SAID:
        reader.data_received(part)
    assert reader.done.done()
    assert len(reader.pieces) == 2


async def test_a_piece_that_comes_in_two_is_counted_once() -> None:
    reader = Reader()
    whole = HEAD + b"".join(SAID)
    cut = whole.index(b'"content": "a') + len(b'"content": "a')
    reader.data_received(whole[:cut])
    assert reader.pieces == []
    reader.data_received(whole[cut:])
    assert len(reader.pieces) == 1


def test_an_answer_is_its_text_and_its_numbers() -> None:
    answer = Answer(asked_ns=0, pieces=[1_000_000, 4_000_000])
    read(answer, HEAD + b"".join(SAID), 2)
    assert (answer.text, answer.tokens, answer.prompt_tokens) == ('a"b', 2, 40)
    assert (answer.first_ms, answer.gaps_ms(), answer.gaps_ms(until_ns=3_000_000)) == (1.0, [3.0], [])


def test_who_tells_no_usage_has_said_all_when_the_end_is_the_length() -> None:
    answer = Answer(asked_ns=0, pieces=[1])
    read(answer, HEAD + chunk(piece("a"), piece(None, "length")) + END, 7)
    assert answer.tokens == 7


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (HEAD + b"".join(SAID[:3]) + chunk(piece("", "stop")) + END, "9 tokens were asked for, 0 came.*'stop'"),
        (HEAD + chunk({"error": {"message": "out of memory"}}) + END, "broke off.*out of memory"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", "no answer came.*busy"),
    ],
)
def test_an_answer_that_is_not_whole_does_not_pass_for_a_fast_one(raw: bytes, problem: str) -> None:
    with pytest.raises(RuntimeError, match=problem):
        read(Answer(asked_ns=0, pieces=[1]), raw, 9)


async def test_a_question_goes_to_a_server_and_its_answer_comes_back() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(json.loads(await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))))
        writer.write(HEAD + b"".join(SAID))
        await writer.drain()
        writer.close()

    asked: list[dict[str, object]] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server = Server(name="llama-server", process=Process(1, f"127.0.0.1:{port}"))
        answer = await ask(server, [{"role": "user", "content": "x"}], 2)
    assert answer.text == 'a"b'
    assert asked[0]["ignore_eos"] is True
    assert asked[0]["max_tokens"] == 2
