"""What a job gives a model to read, as far as it is text."""

from collections.abc import Iterator

from rbee.wire import codec
from rbee.wire.jobs import JobSpec, Message, Work


def texts_of(spec: JobSpec) -> Iterator[str]:
    """Yield all that a model has to read, in about the order in which it does: tools are told before the chat."""
    yield from (codec.dump_json(tool) for tool in spec.tools)
    if spec.prompt is not None:
        yield spec.prompt
    for message in spec.messages or ():
        yield text_of(message)
    if spec.query is not None:
        yield spec.query
    yield from spec.inputs


def text_of(message: Message) -> str:
    """Return what a message says, its calls of tools included."""
    return message.content + "".join(f"{call.name}{call.arguments}" for call in message.tool_calls)


def least_bytes(spec: JobSpec) -> int:
    """Return how long it is at least: what becomes of tools and calls is the template's."""
    if spec.prompt is not None:
        return len(spec.prompt.encode())
    return sum(len(message.content.encode()) for message in spec.messages or ())


def prompt_bytes(spec: JobSpec) -> int:
    """Return how long all of it is."""
    return sum(len(text.encode("utf-8", "replace")) for text in texts_of(spec))


def characters_to_read(spec: JobSpec) -> int:
    """Return how long the texts are of a job that only reads; the query is read with each of them. 0 for any other.

    Not in bytes: it is asked again and again, and characters are counted already.
    """
    if spec.work is Work.GENERATE:
        return 0
    return sum(map(len, spec.inputs)) + len(spec.inputs) * len(spec.query or "")
