"""How a family of models writes its calls. What a model was taught shows in its chat template."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.llm_worker.calling.told import PROBE, Turn, function_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A call is ``open`` name ``middle`` arguments ``close``; an answer is some text, then calls.

    Args:
        trigger: how the first call begins: text in which this is seen is no text any more.
        begin: before the first call, the trigger included; ``between`` two, and ``end`` after the last.
        late: a call may follow text, and not only be all of the answer.
        alternative: said in place of ``begin`` by some.
        short_ids: the template takes no ids of calls but those of nine letters and digits.
    """

    trigger: str
    begin: str = ""
    open: str
    middle: str
    close: str
    between: str
    end: str = ""
    late: bool = True
    alternative: str = ""
    short_ids: bool = False

    @property
    def triggers(self) -> tuple[str, ...]:
        return (self.trigger, self.alternative) if self.alternative else (self.trigger,)

    @property
    def words(self) -> frozenset[str]:
        """Return what may be a control token in the vocabularies of such models; all else is spelled."""
        return frozenset(_CONTROL.findall(f"{self.trigger}{self.alternative}{self.middle}{self.close}"))


_CONTROL = re.compile(r"<[^<>{}\"]+>|\[[A-Z_]+\]")


HERMES = Style(
    trigger="<tool_call>",
    begin="<tool_call>",
    open='\n{"name": "',
    middle='", "arguments": ',
    close="}\n</tool_call>",
    between="\n<tool_call>",
)
LLAMA = Style(
    trigger='{"name":',
    begin='{"name":',
    alternative='<|python_tag|>{"name":',
    open=' "',
    middle='", "parameters": ',
    close="}",
    between='; {"name":',
    late=False,
)
MISTRAL = Style(
    trigger="[TOOL_CALLS]",
    begin="[TOOL_CALLS][",
    open='{"name": "',
    middle='", "arguments": ',
    close="}",
    between=", ",
    end="]",
    short_ids=True,
)
MISTRAL_ARGS = Style(
    trigger="[TOOL_CALLS]",
    begin="[TOOL_CALLS]",
    open="",
    middle="[ARGS]",
    close="",
    between="[TOOL_CALLS]",
    short_ids=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """A style, and whether the template itself tells the model of its tools; where not, we have to."""

    style: Style
    told_by_template: bool


Renders = Callable[[Sequence[Turn], Sequence[Mapping[str, Any]]], str]


def manner_of(render: Renders | None, source: str) -> Manner:
    """Return how the model calls whose chat template is ``render``, and ``source`` what it is made of.

    What the template writes for a tool and for a call tells; one that shows no tool knows of none.
    """
    shown = _rendered(render)
    if PROBE.name not in shown:
        return Manner(style=HERMES, told_by_template=False)
    if "[TOOL_CALLS]" in source or "[AVAILABLE_TOOLS]" in shown:
        return Manner(style=MISTRAL_ARGS if "[ARGS]" in source else MISTRAL, told_by_template=True)
    if "<tool_call>" in shown:
        return Manner(style=HERMES, told_by_template=True)
    llama = "<|python_tag|>" in source or f'{{"name": "{PROBE.name}", "parameters": ' in shown
    return Manner(style=LLAMA, told_by_template=True) if llama else Manner(style=HERMES, told_by_template=False)


def _rendered(render: Renders | None) -> str:
    """Return what the template makes of a chat with a tool, and with a call of it where it takes one."""
    if render is None:
        return ""
    asked: Turn = {"role": "user", "content": "hi"}
    answered: Turn = {"role": "tool", "content": "1", "tool_call_id": "abcdefghi", "name": PROBE.name}
    tries: list[list[Turn]] = []
    both: tuple[Any, Any] = ({}, "{}")
    for arguments in both:
        call = {"id": "abcdefghi", "type": "function", "function": {"name": PROBE.name, "arguments": arguments}}
        called: Turn = {"role": "assistant", "content": "", "tool_calls": [call]}
        tries += [[asked, called, answered, asked], [asked, called]]
    for turns in [*tries, [asked]]:
        try:
            return render(turns, [function_of(PROBE)])
        except Exception:  # noqa: BLE001, S112  (a program from the model's file, which may fail in any way)
            continue
    return ""
