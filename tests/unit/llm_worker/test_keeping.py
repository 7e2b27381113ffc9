"""A conversation goes on after a sleep without being read again; and only where what was kept means anything."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rbee.llm_worker.argv import Options
from rbee.llm_worker.keeping import Keeper
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.worker import make_engine
from tests.unit.llm_worker.asking import end, run, text
from tests.unit.llm_worker.conftest import options

LONG = "a" * 200
Make = Callable[..., ModelEngine]


def sleepless(options_: Options, folder: Path, kind: str = "tiny") -> ModelEngine:
    engine = make_engine(options_, keeper=Keeper(folder, [kind]))
    engine.load(lambda _: None)
    return engine


async def slept(path: Path, folder: Path, *, wake: str = "tiny", slots: int = 2) -> tuple[int, str]:
    """Return what a second turn after a sleep did not read, and what it said."""
    engine = sleepless(options(path, slots=2), folder)
    await run(engine, prompt=LONG, max_tokens=4, temperature=0)
    engine.keep()
    engine.close()
    woken = sleepless(options(path, slots=slots), folder, wake)
    second = await run(woken, prompt=LONG + "b", max_tokens=12, temperature=0)
    woken.close()
    return end(second).tokens_cached, text(second)


async def test_a_conversation_is_warm_after_a_sleep(tiny: Path, tmp_path: Path, engine_of: Make) -> None:
    cached, said = await slept(tiny, tmp_path)
    assert cached > len(LONG)
    assert said == text(await run(engine_of(), prompt=LONG + "b", max_tokens=12, temperature=0))


async def test_what_was_kept_is_gone_once_it_was_used(tiny: Path, tmp_path: Path) -> None:
    await slept(tiny, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wake", ["another model", ""])
async def test_what_another_kind_kept_is_not_used_and_removed(tiny: Path, tmp_path: Path, wake: str) -> None:
    assert (await slept(tiny, tmp_path, wake=wake))[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["cut", "note", "gone"])
async def test_what_is_damaged_is_not_used(tiny: Path, tmp_path: Path, harm: str) -> None:
    engine = sleepless(options(tiny), tmp_path)
    before = text(await run(engine, prompt=LONG, max_tokens=6, temperature=0))
    engine.keep()
    engine.close()
    (file,) = tmp_path.glob("*.bin")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif harm == "note":
        (tmp_path / "slots.json").write_text('{"kind": 5}')
    else:
        file.unlink()
    woken = sleepless(options(tiny), tmp_path)
    after = await run(woken, prompt=LONG, max_tokens=6, temperature=0)
    woken.close()
    assert (end(after).tokens_cached, text(after)) == (0, before)


async def test_what_was_kept_before_and_is_known_no_more_is_not_kept_on(tiny: Path, tmp_path: Path) -> None:
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt=LONG, max_tokens=4)
    engine.keep()
    assert {file.name for file in tmp_path.iterdir()} == {"slots.json", "slot-0.bin"}
    await run(engine, prompt="hi", max_tokens=4)
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []


async def test_short_conversations_and_folders_that_are_not_there_keep_nothing(tiny: Path, tmp_path: Path) -> None:
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt="hi", max_tokens=4)
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []
    lost = sleepless(options(tiny), tmp_path / "nowhere")
    await run(lost, prompt=LONG, max_tokens=4)
    lost.keep()
    lost.close()
