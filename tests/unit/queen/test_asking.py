"""What is asked in another dialect is read from disk by the next queen: nothing is stored that she could not read."""

import pytest

from rbee.errors import InvalidRequest
from rbee.queen.asking import refuse_unreadable
from rbee.wire.jobs import JobSpec, Message, Role

HELLO = Message(role=Role.USER, content="hello")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (JobSpec(model="m", messages=()), "messages: has 0 items"),
        (JobSpec(model="m", messages=(HELLO,) * 1001), "messages: has 1001 items"),
        (JobSpec(model="m", prompt="x", schema={"const": "\ud800"}), "half a surrogate pair"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused(spec: JobSpec, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        refuse_unreadable(spec)


def test_any_other_is_let_through() -> None:
    refuse_unreadable(JobSpec(model="m", messages=(HELLO,), schema={"type": "object"}))
