from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.sse import KEEP_ALIVE, Frame, Parser

words = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\x85\u2028\u2029"), max_size=30)


@given(st.lists(st.tuples(words, st.lists(words, max_size=3))), st.integers(1, 7))
def test_frames_survive_any_cut_of_the_bytes(given_frames: list[tuple[str, list[str]]], cut: int) -> None:
    frames = [
        Frame(event=f"e{word.strip()}", data="\n".join(lines), id=str(n))
        for n, (word, lines) in enumerate(given_frames)
    ]
    data = KEEP_ALIVE.join(frame.encode() for frame in frames)
    parser = Parser()
    pieces = [data[n : n + cut] for n in range(0, len(data), cut)]
    assert [frame for piece in pieces for frame in parser.feed(piece)] == frames


def test_crlf_and_comments_are_understood() -> None:
    frames = list(Parser().feed(b": hi\r\n\r\nid: 7\r\nevent: token\r\ndata: {}\r\n\r\n"))
    assert frames == [Frame(event="token", data="{}", id="7")]
