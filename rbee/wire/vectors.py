"""Vectors of a model as text in JSON, which a list of numbers would be three times as long as."""

import base64
import binascii
import math
import sys
from array import array
from typing import TypeAlias

from rbee.errors import RbeeError
from rbee.wire import codec

Numbers: TypeAlias = "array[float]"


def unpacked(packed: str) -> Numbers:
    """Return the 32-bit floats in base64 of their bytes, little end first."""
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError):
        raise RbeeError("the worker sent a vector that is none") from None
    return _little(numbers)


def packed(numbers: Numbers) -> str:
    return base64.b64encode(_little(numbers).tobytes()).decode()


def shortened(numbers: Numbers, dimensions: int | None) -> Numbers:
    """Return the first ``dimensions`` numbers, made one long again. Raises InvalidRequest where there are not so many.

    What is left is a good vector only where the model was trained for it; OpenAI's were.
    """
    if dimensions is None or dimensions == len(numbers):
        return numbers
    if dimensions > len(numbers):
        raise codec.invalid([("dimensions", f"is {dimensions}, the vectors of this model have {len(numbers)}")])
    kept = numbers[:dimensions]
    length = math.sqrt(math.fsum(each * each for each in kept)) or 1.0
    return array("f", [each / length for each in kept])


def _little(numbers: Numbers) -> Numbers:
    """Return ``numbers`` with their bytes as they are on the wire, or back."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
