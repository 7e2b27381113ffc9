"""The chat template in a model's file, as a function. It is a Jinja program that anybody may have written."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rbee import log
from rbee.llm_worker.template import Render, TemplateRefused, Turn


def renderer(source: str, *, begin: str, end: str) -> Render | None:
    """Return the template as a function, made at its first use; None for one that is no Jinja.

    It gets what Transformers gives to one: a sandbox, blocks that take no lines, ``tojson`` that escapes nothing for
    HTML, ``raise_exception`` and ``strftime_now``.
    """
    # jinja2 takes a fiftieth of a second, and who asks by prompt alone never needs it.
    compiled: list[Callable[..., str]] = []

    def render(turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        try:
            if not compiled:
                compiled.append(_compiled(source))
            return compiled[0](
                messages=[dict(turn) for turn in turns],
                tools=list(tools) or None,
                bos_token=begin,
                eos_token=end,
                add_generation_prompt=True,
                raise_exception=_refuse,
                strftime_now=lambda form: datetime.now().strftime(form),
            )
        except Exception as error:  # noqa: BLE001  (a program from the file, which may fail in any way)
            raise TemplateRefused(str(error)) from None

    return render


def _compiled(source: str) -> Callable[..., str]:
    from jinja2 import nodes  # noqa: PLC0415
    from jinja2.ext import Extension, loopcontrols  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class Generation(Extension):
        """``{% generation %}`` marks what a model is trained on; for reading it means nothing."""

        tags = {"generation"}  # noqa: RUF012  (as Extension has it)

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    try:
        return environment.from_string(source).render
    except Exception as error:
        log.warning("template.rejected", error=str(error)[:300])
        raise


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **how)


def _refuse(message: str) -> None:
    raise ValueError(message)
