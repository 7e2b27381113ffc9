"""Text flows in whole characters and ends before a stop string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.llm_worker.text import TextFlow


def shown(pieces: list[bytes], *stops: str) -> tuple[list[str], bool]:
    flow = TextFlow(stops)
    out: list[str] = []
    for piece in pieces:
        text, stopped = flow.feed(piece)
        out.append(text)
        if stopped:
            return out, True
    return [*out, flow.flush()], False


def test_a_character_in_three_tokens_is_shown_once_it_is_whole() -> None:
    assert shown([b"\xe2", b"\x82", b"\xac!"]) == (["", "", "€!", ""], False)


def test_half_a_character_at_the_end_is_marked() -> None:
    assert shown([b"a", b"\xe2\x82"]) == (["a", "", "\ufffd"], False)


def test_bytes_that_are_no_utf8_do_no_harm() -> None:
    assert shown([b"a\xff", b"b"]) == (["a\ufffd", "b", ""], False)


def test_a_stop_string_in_one_token() -> None:
    assert shown([b"one END two"], "END") == (["one "], True)


def test_a_stop_string_over_three_tokens() -> None:
    assert shown([b"one E", b"N", b"D two"], "END") == (["one ", "", ""], True)


def test_what_only_looked_like_a_stop_string_is_shown_later() -> None:
    assert shown([b"E", b"N", b"ough"], "END") == (["", "", "ENough", ""], False)


def test_the_end_of_text_shows_what_was_held() -> None:
    assert shown([b"the EN"], "END") == (["the ", "EN"], False)


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert shown([b"ab|cd#"], "#", "|") == (["ab"], True)


def test_a_stop_string_that_overlaps_itself() -> None:
    assert shown([b"aa", b"ab", b"x"], "aab") == (["", "a"], True)
    assert "".join(shown([b"a", b"a", b"a", b"b"], "aab")[0]) == "a"


def test_a_stop_string_of_many_bytes_a_character() -> None:
    assert "".join(shown(["x🦙y".encode()[n : n + 1] for n in range(6)], "🦙")[0]) == "x"


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_any_cutting_shows_the_text_up_to_the_first_stop(text: str, stops: list[str], size: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    data = text.encode()
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    out, stopped = shown(pieces, *stops)
    # several may match; which one wins depends on the cutting, that one of them does must not
    cuts = {text[: text.find(stop)] for stop in stops if stop in text}
    assert "".join(out) in (cuts or {text})
    assert not stopped or cuts


@pytest.mark.parametrize("stops", [(), ("zzz",)])
def test_nothing_is_lost_without_a_match(stops: tuple[str, ...]) -> None:
    assert "".join(shown([b"some ", b"zz words"], *stops)[0]) == "some zz words"
