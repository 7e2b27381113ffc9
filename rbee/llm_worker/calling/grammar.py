"""What an answer with tools may be, as a grammar."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.llm_worker.calling.style import Style
from rbee.llm_worker.calling.told import parameters_of
from rbee.llm_worker.guidance.rule import json_rule
from rbee.llm_worker.schema import normalised
from rbee.wire.tools import Tool

MOST_CALLS = 32
"""In one answer; a small model that has begun to repeat itself ends here."""


def grammar_of(
    tools: Sequence[Tool], style: Style, *, must: bool, parallel: bool, schema: Mapping[str, Any] | None = None
) -> str:
    """Return the grammar of an answer that is text or calls of ``tools``; calls alone where it ``must``.

    What has begun as a call goes on as one, with arguments that validate. With a ``schema`` the text is JSON that
    validates against it, and no call follows it: the style must not be ``late``.
    """
    more = MOST_CALLS - 1 if parallel else 0
    calls = f"call ({_quoted(style.between)} call){{0,{more}}}" if more else "call"
    calls = f"{calls} {_quoted(style.end)}" if style.end else calls
    begins = " | ".join(_quoted(begin) for begin in _begins(style))
    text = "TEXT" if schema is None else "json"
    lines = [
        f"start: {f'({begins}) {calls}' if must else f'{text} | head {calls}'}",
        f"call: {' | '.join(f'call_{n}' for n in range(len(tools)))}",
    ]
    if not must and schema is not None:
        lines += [f"head: {begins}", f"json: {json_rule(normalised(schema))}"]
    elif not must:
        lines += _heads(style, begins)
    for n, tool in enumerate(tools):
        name = _quoted(f"{style.open}{tool.name}{style.middle}")
        close = f" {_quoted(style.close)}" if style.close else ""
        lines.append(f"call_{n}: {name} {json_rule(normalised(parameters_of(tool)), spaced=True)}{close}")
    return "\n".join(lines) + "\n"


def _heads(style: Style, begins: str) -> list[str]:
    triggers = "|".join(_escaped(trigger) for trigger in style.triggers)
    if not style.late:
        return [f"head: {begins}", rf"TEXT: /(.|\n)*/ & ~(/({triggers})(.|\n)*/)"]
    rest = style.begin.removeprefix(style.trigger)
    return [
        f"head: before {_quoted(rest)}" if rest else "head: before",
        rf"before[lazy]: /(.|\n)*({triggers})/",
        rf"TEXT: /(.|\n)*/ & ~(/(.|\n)*({triggers})(.|\n)*/)",
    ]


def _begins(style: Style) -> tuple[str, ...]:
    return (style.begin, style.alternative) if style.alternative else (style.begin,)


def _quoted(text: str) -> str:
    return json.dumps(text)


def _escaped(text: str) -> str:
    return re.escape(text).replace("/", r"\/").replace('"', r"\"")
