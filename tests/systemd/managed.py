"""Ask SystemdUnits for things on a host, in the host's own Python, with a worker program that only pretends.

The pretender takes the real argv, speaks sd_notify, and does as its model's name says: crash, hog memory, hang.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.rig.host import Host

PYTHON = "/usr/local/lib/rbee/bin/python"
PROGRAM = "/opt/pretender/llm-worker-rbee"
MODEL = "/opt/pretender/model.gguf"

PRETENDER = f"""#!{PYTHON}
import contextlib, os, select, socket, sys, time
from rbee import log
from rbee.adapters.notify import Notifier
from rbee.llm_worker.argv import parse
if "--post-mortem" in sys.argv:
    from rbee.llm_worker import post_mortem
    sys.exit(post_mortem.main(sys.argv[1:], os.environ))
said = parse(sys.argv[1:])
log.setup("llm-worker-rbee", worker=said.id)
notifier = Notifier.from_environ(os.environ)
secret = open(os.environ["CREDENTIALS_DIRECTORY"] + "/secret").read()
notifier.status("loading 60%")
match said.model:
    case "crash":
        sys.exit("tensor 'x' is truncated")
    case "wrong-usage":
        sys.exit(64)
    case "hog":
        kept = [bytearray(8 << 20) for _ in range(4096)]
    case "slow":
        time.sleep(1000)
sock = socket.socket(fileno=3)
notifier.ready("ready")
end = time.monotonic() + said.idle
while (left := end - time.monotonic()) > 0:
    if said.model != "hang":
        notifier.watchdog()
    if select.select([sock], [], [], min(left, 0.5))[0]:
        connection, _ = sock.accept()
        connection.sendall(str(os.getpid()).encode() if connection.recv(100) == secret.encode() else b"no")
        connection.close()
        end = time.monotonic() + said.idle
if said.model == "scribbler":
    notifier.status("writing")
    for number in range(200):
        notifier.watchdog()
        with contextlib.suppress(OSError), open(os.environ["CACHE_DIRECTORY"] + "/slot-" + str(number), "w") as kept:
            kept.write("what somebody said")
        time.sleep(0.005)
    sys.exit(0)
if said.keep:
    with open(os.environ["CACHE_DIRECTORY"] + "/slot-0", "w") as kept:
        kept.write("what somebody said")
"""

DRIVER = """
import asyncio, dataclasses, json, os, sys
from rbee.adapters.systemd.units import SystemdUnits
from rbee.errors import RbeeError
from rbee.pool_core.ports import WorkerPlan
from rbee.pool_core.unit import Mode, Place
from rbee.wire import codec

async def main(place, calls):
    units = SystemdUnits(Place(**{**place, "mode": Mode(place["mode"])}))
    answers = []
    for name, argument in calls:
        try:
            if name == "create":
                plan = WorkerPlan(**{**argument, "model_paths": tuple(argument["model_paths"])})
                answers.append(await units.create(plan))
            elif name == "start":
                answers.append([dataclasses.asdict(item) async for item in units.start(argument)])
            else:
                answers.append(codec.plain(await getattr(units, name)(*argument)))
        except RbeeError as error:
            answers.append({"error": type(error).__name__, "message": error.message, "hint": error.hint})
    print(json.dumps(answers))

asyncio.run(main(*json.load(sys.stdin)))
"""


@dataclass
class Managed:
    """Workers' units on ``host``, in the system's manager or in ``user``'s."""

    host: Host
    user: str | None = None

    @property
    def cache(self) -> str:
        return f"/home/{self.user}/.cache" if self.user else "/var/cache"

    def kept_by(self, worker: str) -> str:
        """Return the folder in which a worker keeps its conversations."""
        return f"{self.cache}{'' if self.user else '/private'}/rbee-{worker}"

    def install_pretender(self) -> None:
        self.host.run(["install", "-d", "-m", "755", "/opt/pretender"])
        self.host.write(PROGRAM, PRETENDER, mode=0o755)
        self.host.write(MODEL, "")

    def plan(self, worker: str = "worker-cpu-0", port: int = 8001, **changes: Any) -> dict[str, Any]:
        return {
            "id": worker,
            "backend": "cpu",
            "model": "tiny",
            "model_paths": [MODEL],
            "address": f"127.0.0.1:{port}",
            "ctx": 512,
            "slots": 1,
            "idle_s": 60,
            "memory_bytes": 200 << 20,
            "threads": 1,
            **changes,
        }

    def ask(
        self, *calls: tuple[str, Any], env: dict[str, str] | None = None, changed: dict[str, Any] | None = None
    ) -> list[Any]:
        """Make the calls one after the other; an error is an answer, too.

        Args:
            changed: what is otherwise about the place.
        """
        uid = self.host.run(["id", "-u"], user=self.user).stdout.strip()
        place = {
            "mode": "user" if self.user else "system",
            "program": PROGRAM,
            "secrets": f"/run/user/{uid}/rbee/workers" if self.user else "/run/rbee/workers",
            "watchdog_s": 30,
            "load_timeout_s": 60,
            "stop_grace_s": 5,
            "cache": self.cache,
            **(changed or {}),
        }
        done = self.host.run(
            [PYTHON, "-c", DRIVER], user=self.user, input=json.dumps([place, calls]), env=env, timeout=60
        )
        answers: list[Any] = json.loads(done.stdout)
        return answers
