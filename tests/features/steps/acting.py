"""Steps in which somebody does something."""

import json
import signal
from subprocess import CompletedProcess

from pytest_bdd import given, parsers, when

from tests.features.world import World
from tests.rig.waiting import PATIENCE, wait_for


@given(parsers.parse("{host} runs `{command}`"))
@when(parsers.parse("{host} runs `{command}`"))
def run(world: World, host: str, command: str) -> None:
    world.run(host, command)


@given(parsers.parse("{host} has run `{command}`"))
def has_run(world: World, host: str, command: str) -> None:
    """As ``runs``, for what has to have gone well before the story begins."""
    world.run(host, command)
    assert world.done is not None
    assert world.done.returncode == 0, world.said


@when(parsers.parse("{host} begins `{command}`"))
def begin(world: World, host: str, command: str) -> None:
    world.running = world.host(host).popen(world.words(command))


@when("it has begun to answer")
def has_begun(world: World) -> None:
    assert world.running is not None
    assert world.running.stdout is not None
    assert world.running.stdout.read(1)


@when("Ctrl-C is pressed")
def interrupt(world: World) -> None:
    assert world.running is not None
    world.running.send_signal(signal.SIGINT)


@when("it is left to end")
def left_to_end(world: World) -> None:
    assert world.running is not None
    out, err = world.running.communicate(timeout=120 * PATIENCE)
    world.done = CompletedProcess([], world.running.returncode, out, err)


@when(parsers.parse("what it says is remembered as {name}"))
@given(parsers.parse("what it says is remembered as {name}"))
def remember(world: World, name: str) -> None:
    assert world.done is not None
    world.remembered[name] = world.done.stdout.strip()


@when(parsers.parse("{host:S} asks {method:S} {url:S}"))
def ask(world: World, host: str, method: str, url: str) -> None:
    world.ask(host, method, url)


@when(parsers.parse("{host:S} asks {method:S} {url:S} without a token"))
def ask_without(world: World, host: str, method: str, url: str) -> None:
    world.ask(host, method, url, token="")


@when(parsers.parse("{host:S} asks {method:S} {url:S} with the token {token:S}"))
def ask_with(world: World, host: str, method: str, url: str, token: str) -> None:
    world.ask(host, method, url, token=token)


@when(parsers.parse("{host:S} posts to {url:S} the body {body}"))
def post(world: World, host: str, url: str, body: str) -> None:
    world.ask(host, "POST", url, body)


@when(parsers.parse("{host:S} posts to {url:S} a prompt of {size:d} bytes"))
def post_large(world: World, host: str, url: str, size: int) -> None:
    world.ask(host, "POST", url, json.dumps({"model": "tiny", "prompt": "a" * size}))


@when(parsers.parse("{count:d} jobs are submitted at once on {host} for {model}"))
def many(world: World, count: int, host: str, model: str) -> None:
    script = (
        f"for n in $(seq {count}); do rbee jobs submit --model {model} --prompt $n --max-tokens 20 --ignore-eos"
        " --format json & done; wait"
    )
    said = world.shell(host, f"({script}) | grep '\"state\"'")
    world.remembered["states"] = " ".join(sorted(set(said.replace('"state":', "").replace(",", "").split())))


@when(parsers.parse("{seconds:d} s of idleness have passed for {unit} on {host}"))
def idle(world: World, seconds: int, unit: str, host: str) -> None:
    asleep = "inactive"
    wait_for(lambda: world.host(host).unit_property(unit, "ActiveState") == asleep, f"{unit} to sleep", seconds + 20)


@when(parsers.parse("the first bytes are on the disk of {host}"))
def first_bytes(world: World, host: str) -> None:
    some = "find /var/lib/rbee/models -name '*.partial' -size +0 | grep -q ."
    wait_for(lambda: world.host(host).run(["sh", "-c", some], check=False).returncode == 0, "the first bytes", 30)
