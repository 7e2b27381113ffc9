"""What a job gives a model to read, as far as it is text."""

from collections.abc import Collection, Iterator

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
    return sum(_length(text) for text in texts_of(spec))


def bytes_to_read(spec: JobSpec, read: Collection[int] = ()) -> int:
    """Return how long the texts are of a job that only reads; the query is read with each of them. 0 for any other.

    Args:
        read: the inputs that are done.
    """
    if spec.work is Work.GENERATE:
        return 0
    left = [text for number, text in enumerate(spec.inputs) if number not in read]
    return sum(_length(text) for text in left) + len(left) * _length(spec.query or "")


def _length(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
