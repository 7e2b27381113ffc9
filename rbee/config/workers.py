"""What cannot be of ``[workers.<name>]``, beside what each field says by itself."""

from collections.abc import Iterator, Mapping

from rbee.errors import InvalidRequest
from rbee.pool_core import catalog, names
from rbee.pool_core.usual import gpu_problems
from rbee.wire.mixes import parts_of
from rbee.wire.workers import WorkerShape


def worker_problems(workers: Mapping[str, WorkerShape]) -> Iterator[tuple[str, str]]:
    """Yield each wrong key of rbee.toml, and what is wrong with it."""
    units: dict[str, str] = {}
    for worker, shape in workers.items():
        where = f"workers.{worker}"
        problem = _problem_of_name(worker)
        if problem:
            yield where, problem
        else:
            other = units.setdefault(names.stem(worker), worker)
            if other != worker:
                yield where, f"would have the unit of workers.{other}, {names.service(worker)}; name one otherwise"
        problem = _problem_of_model(shape.model)
        if problem:
            yield f"{where}.model", problem
        yield from ((f"{where}.{key}", wrong) for key, wrong in gpu_problems(shape))


def _problem_of_name(worker: str) -> str:
    try:
        names.check(worker)
    except InvalidRequest as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    return ""


def _problem_of_model(model: str) -> str:
    try:
        base, over = parts_of(model)
        for each in (base, *over):
            catalog.parse(each)
    except InvalidRequest as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    return ""
