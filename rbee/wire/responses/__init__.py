"""OpenAI's Responses: their requests to our types, our events to their answers and the events of their streams."""

from rbee.wire.responses.answers import Answer, deleted
from rbee.wire.responses.items import said_again
from rbee.wire.responses.requests import ResponseRequest, parse, parse_again

__all__ = ["Answer", "ResponseRequest", "deleted", "parse", "parse_again", "said_again"]
