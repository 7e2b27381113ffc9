"""Models with adapters over them, and models that are for something else, as the queen decides on them."""

import dataclasses

import pytest

from rbee.errors import InvalidRequest, ModelNotFound, RbeeError
from rbee.orchestrator_core import places
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Decision, Refuse, Run, Spawn, decide
from rbee.queen.models import askable, models_of
from rbee.wire.catalog import ModelEntry, ModelFile, ModelKind
from rbee.wire.jobs import JobSpec, Work
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import Backend, WorkerSpec, WorkerState
from tests.unit.orchestrator_core.snapshots import GIB, device, need, registry, snapshot, view, worker

NAMES = Names([ModelEntry(id="tiny", reference="hf:org/tiny::file=t.gguf", aliases=("tiny-0.5m",))])


def pool(name: str = "blep", *more: object, **kinds: ModelKind) -> PoolSnapshot:
    """A pool that has these files, a GiB each."""
    made = snapshot(name, *more, models=tuple(kinds))  # type: ignore[arg-type]
    return dataclasses.replace(
        made, models=tuple(dataclasses.replace(file, kind=kinds[file.id]) for file in made.models)
    )


def ask(model: str, *pools: PoolSnapshot, work: Work = Work.GENERATE) -> Decision:
    texts = {"prompt": "hello"} if work is Work.GENERATE else {"inputs": ("a",)}
    query = {"query": "q"} if work is Work.RERANK else {}
    return decide(JobSpec(model=model, work=work, **texts, **query), view(*pools, names=NAMES))  # type: ignore[arg-type]


def refused(decision: Decision) -> RbeeError:
    assert isinstance(decision, Refuse)
    return decision.error


BOTH = {"tiny": ModelKind.GENERATE, "pirate": ModelKind.ADAPTER}


@pytest.mark.parametrize("spelling", ["tiny+pirate", "tiny-0.5m+pirate"])
def test_a_model_with_adapters_is_started_where_all_of_it_is(spelling: str) -> None:
    decision = ask(spelling, pool("mac", tiny=ModelKind.GENERATE), pool("blep", **BOTH))
    assert isinstance(decision, Spawn)
    assert decision.place == Place("blep", "tiny+pirate", Backend.CPU)
    assert decision.spec == WorkerSpec(backend=Backend.CPU, model="tiny+pirate")
    assert decision.need > 2 * GIB, "the adapter counts"


def test_a_worker_of_the_mix_serves_it_and_one_of_the_base_does_not() -> None:
    here = dataclasses.replace(worker(1), model="tiny+pirate")
    assert ask("tiny+pirate", pool("blep", worker(0), here, **BOTH)) == Run("blep", "worker-cpu-1")
    assert ask("tiny", pool("blep", worker(0), here, **BOTH)) == Run("blep", "worker-cpu-0")
    asleep = dataclasses.replace(here, state=WorkerState.ASLEEP)
    assert ask("tiny+pirate", pool("blep", worker(0), asleep, **BOTH)) == Run("blep", "worker-cpu-1", wakes=True)


def test_what_the_base_is_known_to_need_is_believed_of_the_mix() -> None:
    told = dataclasses.replace(
        pool("blep", **BOTH), devices=(device(),), needs=(need("tiny", takes=3 * GIB, backend=Backend.CPU),)
    )
    decision = ask("tiny+pirate", told)
    assert isinstance(decision, Spawn) and decision.need == 4 * GIB


def test_a_part_that_nobody_has_is_named() -> None:
    error = refused(ask("tiny+polite", pool("blep", **BOTH)))
    assert isinstance(error, ModelNotFound)
    assert (error.message, error.details["adapter"]) == ("no pool has the adapter polite", "polite")
    assert "no pool has a model other" in refused(ask("other+pirate", pool("blep", **BOTH))).message


def test_parts_that_lie_apart_are_said_to() -> None:
    apart = (pool("blep", tiny=ModelKind.GENERATE), pool("mac", pirate=ModelKind.ADAPTER))
    error = refused(ask("tiny+pirate", *apart))
    assert error.message == "no pool has all of tiny+pirate: tiny is at blep, pirate is at mac"
    assert error.hint == "rbee pool models download pirate --host blep"


def test_one_that_is_asked_for_by_hand_goes_where_all_of_it_is() -> None:
    pools = registry(pool("mac", tiny=ModelKind.GENERATE), pool("blep", **BOTH)).view(0.0)
    spec = WorkerSpec(backend=Backend.CPU, model="tiny+pirate")
    assert places.pool_for(spec, pools, NAMES) == "blep"
    with pytest.raises(ModelNotFound, match="no pool has the adapter polite"):
        places.pool_for(dataclasses.replace(spec, model="tiny+polite"), pools, NAMES)


@pytest.mark.parametrize(
    ("kind", "work", "sentence"),
    [
        (ModelKind.EMBED, Work.GENERATE, "x only embeds texts, and cannot generate"),
        (ModelKind.RERANK, Work.GENERATE, "x only ranks documents, and cannot generate"),
        (ModelKind.RERANK, Work.EMBED, "x only ranks documents, and cannot embed"),
        (ModelKind.EMBED, Work.RERANK, "x only embeds texts, and cannot rerank"),
        (ModelKind.GENERATE, Work.RERANK, "x only generates text, and cannot rerank"),
        (ModelKind.GENERATE, Work.EMBED, "x only generates text, and cannot embed"),
        (ModelKind.ADAPTER, Work.GENERATE, "x is an adapter, and no model"),
    ],
)
def test_work_that_a_model_cannot_do_is_refused_also_where_a_worker_of_it_is_idle(
    kind: ModelKind, work: Work, sentence: str
) -> None:
    error = refused(ask("x", pool("blep", worker(model="x"), x=kind), work=work))
    assert isinstance(error, InvalidRequest) and error.message == sentence
    assert error.details["kind"] == kind.value


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        (ModelKind.GENERATE, Work.GENERATE),
        (ModelKind.EMBED, Work.EMBED),
        (ModelKind.RERANK, Work.RERANK),
    ],
)
def test_work_that_it_can_do_is_not(kind: ModelKind, work: Work) -> None:
    assert ask("x", pool("blep", worker(model="x"), x=kind), work=work) == Run("blep", "worker-cpu-0")


def test_who_is_refused_is_told_which_models_could() -> None:
    six = {f"enc{n}": ModelKind.EMBED for n in range(6)}
    pools = (pool("blep", x=ModelKind.GENERATE, enc0=ModelKind.EMBED), pool("mac", **six))
    hint = refused(ask("x", *pools, work=Work.EMBED)).hint
    assert hint.startswith("to embed there is enc0, enc1, enc2, enc3, enc4 and 1 more; ")
    assert refused(ask("x", *pools, work=Work.RERANK)).hint.startswith("no pool has a model to rerank with; ")


def test_a_model_of_which_nothing_is_known_is_left_to_its_worker() -> None:
    assert ask("x", snapshot("blep", worker(model="x"), models=()), work=Work.EMBED) == Run("blep", "worker-cpu-0")


def test_two_pools_that_mean_different_files_leave_it_to_them() -> None:
    pools = (pool("blep", worker(model="x"), x=ModelKind.GENERATE), pool("mac", x=ModelKind.EMBED))
    assert ask("x", *pools) == Run("blep", "worker-cpu-0")


def test_the_list_of_models_says_what_each_is_for() -> None:
    pools = registry(pool("blep", **BOTH)).view(0.0)
    assert {entry.id: entry.kind for entry in models_of(NAMES, pools)} == BOTH


def test_a_name_that_is_no_mix_is_left_alone() -> None:
    names = Names([ModelEntry(id="a", reference="hf:org/a::file=a+b.gguf")])
    assert names.canonical("hf:org/a::file=a+b.gguf") == "a"
    assert names.canonical("file:/m/a+b.gguf") == "file:/m/a+b.gguf"
    file = ModelFile(id="a", reference="hf:org/a::file=a+b.gguf", paths=(), size_bytes=1)
    assert names.file_of("hf:org/a::file=a+b.gguf", [file]) == file


def test_a_mix_that_a_pool_would_refuse_cannot_be_asked_for() -> None:
    def listed(width: int) -> set[str]:
        here = pool("blep", **BOTH)
        sizes = {"tiny": 64, "pirate": width}
        files = (dataclasses.replace(file, embedding_length=sizes[file.id]) for file in here.models)
        return set(askable(NAMES, registry(dataclasses.replace(here, models=tuple(files))).view(0.0)))

    assert listed(64) == {"tiny", "tiny+pirate"}
    assert listed(128) == {"tiny"}
