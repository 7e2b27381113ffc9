"""Functions that a model may ask its caller to call, and its calls."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire.fields import plain, said, text

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ToolChoice(StrEnum):
    """Whether the model calls: as it likes, never, or at least once."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """``parameters`` is the JSON schema of its arguments, an object; arguments always validate against it."""

    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    description: str = text(longest=65_536, default="")
    parameters: Mapping[str, Any] = plain({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model has made. ``arguments`` is JSON as it was said."""

    id: str = text(longest=200, shortest=1)
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    arguments: str = said("")
