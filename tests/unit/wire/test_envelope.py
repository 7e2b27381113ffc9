import pytest

from rbee import errors
from rbee.wire.envelope import from_envelope, to_envelope


@pytest.mark.parametrize("kind", errors.BY_CODE.values(), ids=errors.BY_CODE.keys())
def test_an_error_arrives_as_the_class_it_left_as(kind: type[errors.RbeeError]) -> None:
    sent = kind("it broke", hint="mend it", details={"needed": 1}, source="pool:mac")
    came = from_envelope(to_envelope(sent, request_id="r1", source="queen"), status=sent.http_status)
    assert type(came) is kind
    assert (came.message, came.hint, came.details, came.source, came.request_id) == (
        "it broke",
        "mend it",
        {"needed": 1},
        "pool:mac",
        "r1",
    )


@pytest.mark.parametrize("body", [None, [], {}, {"error": "x"}, {"error": {"code": "conflict"}}])
def test_a_body_that_is_no_envelope_is_said_to_be_none(body: object) -> None:
    assert "answered 418 without an error envelope" in from_envelope(body, status=418, source="queen").message


def test_the_drawn_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    for code, kind in errors.BY_CODE.items():
        line = next(line for line in errors.__doc__.splitlines() if f" {code} " in line)
        assert kind.__name__ in line
        assert f"exit {kind.exit_code}" in line
        assert f"http {kind.http_status}" in line
