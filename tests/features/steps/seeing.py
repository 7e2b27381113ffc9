"""Steps that look: at what a command said, at what systemd and the daemons say, never at what a step set."""

import json
import re

from pytest_bdd import parsers, then

from tests.features.hub import Hub
from tests.features.world import World
from tests.rig.waiting import wait_for

LONG_S = 60


@then(parsers.parse("it exits with {code:d}"))
def exits(world: World, code: int) -> None:
    assert world.done is not None
    assert world.done.returncode == code, world.said


@then(parsers.parse('it says "{text}"'))
def says(world: World, text: str) -> None:
    assert text in re.sub(r" +", " ", world.said), world.said


@then(parsers.parse('it does not say "{text}"'))
def does_not_say(world: World, text: str) -> None:
    assert text not in world.said


@then("it says something")
def says_something(world: World) -> None:
    assert world.done is not None
    assert world.done.stdout.strip()


@then(parsers.parse("its {path} is {value}"))
def field_is(world: World, path: str, value: str) -> None:
    """``path`` is dotted; rows of an array are named by number, or by their id."""
    assert shown(_at(world.document, path)) == value, world.document


@then(parsers.parse("the status is {status:d}"))
def status_is(world: World, status: int) -> None:
    assert world.answer[0] == status, world.answer


@then(parsers.parse("the error is {code}"))
def error_is(world: World, code: str) -> None:
    body = world.answer[1]
    assert isinstance(body, dict), body
    assert body["error"]["code"] == code, body
    assert body["error"]["message"]


@then(parsers.parse("the error names {field}"))
def error_names(world: World, field: str) -> None:
    assert field in json.dumps(world.answer[1]["error"]["details"]), world.answer


@then(parsers.parse("the answer's {path} is {value}"))
def answer_is(world: World, path: str, value: str) -> None:
    assert shown(_at(world.answer[1], path)) == value, world.answer


@then(parsers.parse("on {host:S} {unit:S} is {state:S}"))
def unit_is(world: World, host: str, unit: str, state: str) -> None:
    wait_for(lambda: world.host(host).unit_property(unit, "ActiveState") == state, f"{unit} to be {state}", LONG_S)


@then(parsers.parse("on {host:S} no unit {pattern:S} is left"))
def no_unit(world: World, host: str, pattern: str) -> None:
    listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]
    wait_for(lambda: not world.host(host).run(listing).stdout.strip(), f"no {pattern} to be left", LONG_S)


@then(parsers.parse("the property {name} of {unit} on {host} is {value}"))
def property_is(world: World, name: str, unit: str, host: str, value: str) -> None:
    wait_for(lambda: world.host(host).unit_property(unit, name) == value, f"{name} of {unit} to be {value}", LONG_S)


@then(parsers.parse("the queen has the pool {pool} {state}"))
def pool_is(world: World, pool: str, state: str) -> None:
    wait_for(lambda: world.pools().get(pool) == state, f"pool {pool} to be {state}", LONG_S)


@then(parsers.parse("the queen knows no pool {pool}"))
def no_pool(world: World, pool: str) -> None:
    assert pool not in world.pools()


@then(parsers.parse("the job {name} is {state}"))
def job_is(world: World, name: str, state: str) -> None:
    job = world.remembered[name]

    def now() -> str:
        done = world.host("blep").run(["rbee", "jobs", "status", job, "--format", "json"])
        return str(json.loads(done.stdout)["state"])

    wait_for(lambda: now() == state, f"job {job} to be {state}", LONG_S)


@then(parsers.parse("the worker {worker} on {host} is {state}"))
def worker_is(world: World, worker: str, host: str, state: str) -> None:
    def now() -> str:
        done = world.host(host).run(["rbee-hive", "worker", "status", worker, "--format", "json"], check=False)
        return str(json.loads(done.stdout)["state"]) if done.returncode == 0 else "gone"

    wait_for(lambda: now() == state, f"{worker} to be {state}", LONG_S)


@then(parsers.parse("the remembered {name} is {value}"))
def remembered_is(world: World, name: str, value: str) -> None:
    assert world.remembered[name] == value


@then(parsers.parse("{host} has no file {path}"))
def no_file(world: World, host: str, path: str) -> None:
    assert world.host(host).run(["test", "-e", path], check=False).returncode == 1


@then(parsers.parse("the file {path} of {host} has the mode {mode}"))
def file_mode(world: World, path: str, host: str, mode: str) -> None:
    assert world.host(host).run(["stat", "-c", "%a", path]).stdout.strip() == mode


@then(parsers.parse("nobody finds the token in the journal of {host}"))
def not_in_journal(world: World, host: str) -> None:
    token = world.host("blep").read("/etc/rbee/token").strip()
    assert token not in world.host(host).journal("--all", "--output=json")


def shown(value: object) -> str:
    """Return a JSON value as a scenario writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _at(value: object, path: str) -> object:
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() else next(row for row in value if row["id"] == part)
        else:
            assert isinstance(value, dict), f"{part} of {value!r}"
            value = value[part]
    return value


@then(parsers.parse("the remembered {name} equals {other}"))
def remembered_alike(world: World, name: str, other: str) -> None:
    assert world.remembered[name] == world.remembered[other]


@then(parsers.parse("it listens on port {port:d}"))
def port_is(world: World, port: int) -> None:
    assert world.document["address"].endswith(f":{port}"), world.document


@then("no job runs any more")
def no_job(world: World) -> None:
    def none() -> bool:
        done = world.host("blep").run(["rbee", "jobs", "list", "--state", "running", "--format", "json"])
        return json.loads(done.stdout) == []

    wait_for(none, "no job to run", LONG_S)


@then("the hub was asked for a range of bytes")
def asked_for_a_range(hub: Hub) -> None:
    assert hub.ranges()[-1].startswith("bytes=")
