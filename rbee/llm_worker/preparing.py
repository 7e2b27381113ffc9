"""A request made ready for the model: as tokens that fit, with a seed and a limit."""

import secrets
from collections.abc import Callable, Sequence

from rbee.errors import ContextTooLong, InvalidRequest
from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.ports import LoadedModel
from rbee.llm_worker.shape import Shape
from rbee.llm_worker.shaping import chat_of
from rbee.wire import codec, continuation
from rbee.wire.bodies import SEEDS
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Work

ShapeOf = Callable[[InferenceRequest, LoadedModel], Shape]


class Preparer:
    """Makes prompts for one model.

    Args:
        name: what the model is called, in errors.
        context_tokens: of a slot; where texts are embedded, of a step.
        shape_of: what an answer has to look like.
    """

    def __init__(self, model: LoadedModel, *, name: str, context_tokens: int, shape_of: ShapeOf) -> None:
        self._model, self._name, self._room, self._shape_of = model, name, context_tokens, shape_of

    def prepare(self, request: InferenceRequest) -> Prompt:
        """See ``engine.Engine.prepare``."""
        self._refuse_other_work(request.work)
        seed = secrets.randbelow(SEEDS) if request.seed is None else request.seed
        if request.work is not Work.GENERATE:
            return Prompt(request=request, tokens=(), seed=seed, max_tokens=0, inputs=self._inputs(request))
        tokens = self._tokens(request)
        if not tokens:
            raise InvalidRequest(
                f"the prompt is empty, and {self._name} has no token that every text begins with",
                hint="say something, or ask a model that begins by itself",
                details={"fields": [{"field": "prompt", "problem": "is no token of this model"}]},
            )
        room = self._room - len(tokens)
        if room < 1:
            raise ContextTooLong(
                f"the prompt is {len(tokens)} tokens, the context of {self._name} here holds {self._room}"
                " with at least one of the answer",
                hint="shorten the prompt, or spawn the worker with a larger --ctx",
                details={"prompt_tokens": len(tokens), "context_tokens": self._room},
            )
        self._refuse_unknown(request)
        if request.logprobs is not None:
            import numpy  # noqa: F401, PLC0415  (takes a while; the thread that computes would hold up everybody for it)
        return Prompt(
            request=request,
            tokens=tokens,
            seed=seed,
            max_tokens=min(request.max_tokens, room),
            said=self._said(request, room),
            shape=self._shape_of(request, self._model),
        )

    def count(self, request: InferenceRequest) -> int:
        """See ``engine.Engine.count``."""
        if request.work is not Work.GENERATE:
            return sum(len(each) for each in self._tokens_of_inputs(request))
        return len(self._tokens(request))

    def _refuse_other_work(self, work: Work) -> None:
        model, name = self._model, self._name
        does = Work.RERANK if model.ranks else Work.EMBED if model.embeds else Work.GENERATE
        if work is not does:
            raise InvalidRequest(
                f"work: {name} is a model to {does}, not to {work}",
                hint="rbee-hive models list says what each model is for",
                details={"fields": [{"field": "model", "problem": f"is a model to {does}, not to {work}"}]},
            )

    def _tokens(self, request: InferenceRequest) -> list[int]:
        model = self._model
        if request.messages is not None:
            return model.tokenize_chat(chat_of(request, model, name=self._name))
        return model.tokenize(request.prompt or "", special=True)

    def _inputs(self, request: InferenceRequest) -> list[list[int]]:
        inputs = self._tokens_of_inputs(request)
        for n, tokens in enumerate(inputs):
            if len(tokens) > self._room:
                raise ContextTooLong(
                    f"inputs[{n}] is {len(tokens)} tokens, {self._name} here reads {self._room} at once",
                    hint="split it, or spawn the worker with a larger --ctx",
                    details={"input": n, "prompt_tokens": len(tokens), "context_tokens": self._room},
                )
        return inputs

    def _tokens_of_inputs(self, request: InferenceRequest) -> list[list[int]]:
        model, query = self._model, request.query
        if query is not None:
            return [model.tokenize_pair(query, text) for text in request.inputs]
        return [model.tokenize(text, special=True) for text in request.inputs]

    def _said(self, request: InferenceRequest, room: int) -> Sequence[int]:
        """Return the tokens to go on from. Raises InvalidRequest for those this model has not, ContextTooLong."""
        said = continuation.unpacked(request.continue_from)
        if any(token >= self._model.vocabulary for token in said):
            raise InvalidRequest(f"continue_from has tokens that {self._name} here does not know")
        if len(said) > room:
            raise ContextTooLong(
                f"{len(said)} tokens were said already, the context of {self._name} here has room for {room}",
                hint="spawn the worker with a larger --ctx",
                details={"said_tokens": len(said), "context_tokens": self._room},
            )
        return said

    def _refuse_unknown(self, request: InferenceRequest) -> None:
        """Raise InvalidRequest for a bias on a token that the model has not."""
        unknown = [token for token in request.logit_bias if int(token) >= self._model.vocabulary]
        if unknown:
            raise codec.invalid(
                [("logit_bias", f"has token {unknown[0]}, {self._name} knows 0..{self._model.vocabulary - 1}")]
            )
