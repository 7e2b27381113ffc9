"""What an answer has to look like, found out once before it begins.

JSON by a schema is a grammar; tools are a grammar and an ear that hears the calls. A request that wants neither gets
no shape, and then nothing of this is even imported.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, ref

from rbee.errors import InvalidRequest, RbeeError
from rbee.llm_worker.calling.ear import CallEar
from rbee.llm_worker.calling.style import manner_of
from rbee.llm_worker.calling.told import speaks_of_tools
from rbee.llm_worker.schema import GrammarRefused, normalised
from rbee.llm_worker.shape import Constraint, Shape
from rbee.llm_worker.template import Render, render_chat
from rbee.wire import codec
from rbee.wire.jobs import Generation
from rbee.wire.schemas import refuse_excess
from rbee.wire.tools import Tool, ToolChoice

if TYPE_CHECKING:
    from rbee.llm_worker.guidance.rule import Lexicon


class Vocabulary(Protocol):
    """What shaping needs of a model; see ``ports.LoadedModel``, which is one."""

    @property
    def vocabulary(self) -> int: ...

    @property
    def render(self) -> Render | None: ...

    @property
    def template(self) -> str: ...

    def piece(self, token: int, *, aloud: bool = False) -> bytes: ...

    def ends(self, token: int) -> bool: ...


def shape_of(request: Generation, model: Vocabulary) -> Shape:
    """Return what the answer has to look like. Blocks; the first time it learns the vocabulary, for half a second.

    Raises:
        InvalidRequest: the schema, or that of a tool, is too large, or asks for what cannot be made sure of; names it.
            Or the answer is never to end.
    """
    refuse_excess(request)
    tools = wanted_tools(request)
    if request.ignore_eos and (tools or request.schema is not None):
        raise codec.invalid([("ignore_eos", "is for answers that may be anything: by a schema or with tools they end")])
    if tools:
        return _known(model).calls(tools, request)
    return Shape() if request.schema is None else Shape(constraint=_known(model).json(request.schema))


def chat_of(request: Generation, model: Vocabulary, *, name: str) -> str:
    """Return the messages as the text that the model, called ``name``, goes on with. Raises as ``render_chat``."""
    tools, messages = wanted_tools(request), request.messages or ()
    manner = _known(model).manner if tools or speaks_of_tools(messages) else None
    return render_chat(messages, model.render, model=name, tools=tools, manner=manner)


def wanted_tools(request: Generation) -> Sequence[Tool]:
    """Return the tools that the model is to know of: none where it must not call, one where that is named."""
    if request.tool_choice is ToolChoice.NONE:
        return ()
    return [tool for tool in request.tools if request.tool in (None, tool.name)]


class _Known:
    """What was found out about one model."""

    def __init__(self, model: Vocabulary) -> None:
        self.manner = manner_of(model.render, model.template)
        self._model = ref(model)
        self._lock = threading.Lock()
        self._learned: Lexicon | None = None
        self._spoken: dict[int, bytes] = {}

    def json(self, schema: Mapping[str, Any]) -> Constraint:
        from rbee.llm_worker.guidance.rule import json_rule  # noqa: PLC0415  (numpy: loaded when it is needed)

        with _refused_as("schema"):
            return self._lexicon().rule(f"start: {json_rule(normalised(schema))}\n")

    def calls(self, tools: Sequence[Tool], request: Generation) -> Shape:
        from rbee.llm_worker.calling.grammar import grammar_of  # noqa: PLC0415  (as above)

        style, must = self.manner.style, request.tool_choice is ToolChoice.REQUIRED
        with _refused_as("tools"):
            if request.schema is not None and not must:
                if style.trigger.startswith("{"):
                    raise GrammarRefused("a schema beside them, since this model's calls are JSON as well")
                style = replace(style, late=False)  # what a JSON text quotes is no call
            grammar = grammar_of(
                tools,
                style,
                must=must,
                parallel=request.parallel_tool_calls and request.tool is None,
                schema=request.schema,
            )
            constraint = self._lexicon().rule(grammar)
        return Shape(constraint=constraint, ear=CallEar(style), spoken=dict(self._spoken))

    def _lexicon(self) -> "Lexicon":
        with self._lock:
            if self._learned is None:
                self._learned = self._learn()
            return self._learned

    def _learn(self) -> "Lexicon":
        """Return the vocabulary. Control tokens are in no text, but for those that the model calls with."""
        from rbee.llm_worker.guidance.rule import Lexicon  # noqa: PLC0415  (as above)

        model = self._model()
        if model is None:
            raise RbeeError("the model is gone")
        tokens = range(model.vocabulary)
        pieces = [model.piece(token, aloud=True) for token in tokens]
        silent = {token for token in tokens if not model.piece(token)}
        ends = [token for token in tokens if model.ends(token)]
        words = self.manner.style.words
        self._spoken = {token: pieces[token] for token in silent if pieces[token].decode("utf-8", "replace") in words}
        return Lexicon(pieces, silent=frozenset(silent - self._spoken.keys()), ends=ends)


_all: "WeakKeyDictionary[Vocabulary, _Known]" = WeakKeyDictionary()
_finding_out = threading.Lock()


def _known(model: Vocabulary) -> _Known:
    with _finding_out:
        known = _all.get(model)
        if known is None:
            known = _all[model] = _Known(model)
        return known


@contextlib.contextmanager
def _refused_as(field: str) -> Iterator[None]:
    """Raise InvalidRequest, which names ``field``, for what cannot be made sure of."""
    try:
        yield
    except GrammarRefused as refused:
        problem = f"cannot be made sure of here: {str(refused)[:300]}"
        raise InvalidRequest(
            f"{field}: {problem}",
            hint="leave that out of the JSON schema, or say the same with other keywords",
            details={"fields": [{"field": field, "problem": problem}]},
        ) from None
