import pytest

from rbee.errors import InvalidRequest
from rbee.llm_worker.argv import parse

GOOD = [
    "--id=worker-cpu-0", "--model=tiny", "--backend=cpu", "--address=127.0.0.1:8001",
    "--ctx=512", "--slots=2", "--idle=300", "--threads=0",
]  # fmt: skip


def test_the_command_line_that_the_units_hold() -> None:
    options = parse([*GOOD, "/models/a.gguf", "/models/b.gguf"])
    assert (options.id, options.model, options.backend, options.address) == (
        "worker-cpu-0", "tiny", "cpu", "127.0.0.1:8001",
    )  # fmt: skip
    assert (options.ctx, options.slots, options.idle, options.threads, options.gpu) == (512, 2, 300, 0, ())
    assert options.path == ("/models/a.gguf", "/models/b.gguf")
    assert options.devices == ()


def test_a_gpu_backend_takes_the_named_gpu() -> None:
    words = [word.replace("--backend=cpu", "--backend=cuda") for word in GOOD]
    assert parse([*words, "--gpu=1", "/m.gguf"]).devices == (1,)
    assert parse([*words, "--gpu=0,2", "/m.gguf"]).devices == (0, 2)
    assert parse([*words, "/m.gguf"]).devices == (0,)
    assert parse([*words, "--gpu=0,2", "--split=75,25", "/m.gguf"]).split == (75, 25)
    for wrong in ("75", "100,0", "75,x"):
        with pytest.raises(InvalidRequest, match="split"):
            parse([*words, "--gpu=0,2", f"--split={wrong}", "/m.gguf"])


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (8, 8), (64, 16)])
def test_all_slots_together_take_the_cores_but_no_more_than_eight_each(cores: int, threads: int) -> None:
    assert parse([*GOOD, "/m.gguf"]).threads_for(cores) == threads


def test_threads_that_were_asked_for_are_given() -> None:
    assert parse([*GOOD[:-1], "--threads=3", "/m.gguf"]).threads_for(64) == 3


def test_every_wrong_option_is_named() -> None:
    words = [word.replace("--ctx=512", "--ctx=lots").replace("--slots=2", "--slots=0") for word in GOOD]
    with pytest.raises(InvalidRequest, match=r"ctx.*slots"):
        parse([*words, "/m.gguf"])


def test_a_step_has_room_for_a_token_of_each_slot() -> None:
    assert parse([*GOOD, "--batch=2", "/m.gguf"]).batch == 2
    with pytest.raises(InvalidRequest, match="batch: is 1, expected a token for each of 2 slots at least"):
        parse([*GOOD, "--batch=1", "/m.gguf"])


@pytest.mark.parametrize("argv", [[], GOOD, ["--nonsense"], [*GOOD, "--unknown=1", "/m.gguf"]])
def test_what_is_no_command_line_points_to_the_help(argv: list[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(argv)
    assert caught.value.hint == "llm-worker-rbee --help"
