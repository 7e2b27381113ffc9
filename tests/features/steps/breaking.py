"""Steps in which something goes wrong; each says how it is undone."""

import json

from pytest_bdd import given, parsers, when

from tests.features.hub import Hub
from tests.features.world import World
from tests.fleet.house import CONFIG
from tests.fleet.llama import give_llama

HIVE = "/usr/local/bin/rbee-hive"
PROGRAM = "/usr/local/lib/rbee/bin/llm-worker-rbee"
CONNECTIONS = "pkill -f '[s]sh:.*mux'; while pgrep -f '[s]sh:.*mux' >/dev/null; do sleep 0.02; done"


@given(parsers.parse("the link of {host} is cut"))
@when(parsers.parse("the link of {host} is cut"))
def cut(world: World, host: str) -> None:
    world.shell("blep", CONNECTIONS)
    world.cut.append(host)
    world.host(host).cut_link()


@given(parsers.parse("no sshd listens on {host}"))
def no_sshd(world: World, host: str) -> None:
    world.shell("blep", CONNECTIONS)
    world.shell(host, "systemctl stop ssh.service")
    world.later(host, "systemctl start ssh.service")


@given(parsers.parse("{host} does not know the key of blep"))
def no_key(world: World, host: str) -> None:
    world.shell("blep", CONNECTIONS)
    world.shell(host, "mv /root/.ssh/authorized_keys /root/.ssh/away; touch /root/.ssh/authorized_keys")
    world.later(host, "mv /root/.ssh/away /root/.ssh/authorized_keys")


@given(parsers.parse("blep does not know the host key of {host}"))
def unknown_host_key(world: World, host: str) -> None:
    world.shell(
        "blep", f"{CONNECTIONS}; cp /root/.ssh/known_hosts /root/.ssh/kept; sed -i /^{host},/d /root/.ssh/known_hosts"
    )
    world.later("blep", "mv /root/.ssh/kept /root/.ssh/known_hosts")


@given(parsers.parse("{host} shows the host key of {other}"))
def changed_host_key(world: World, host: str, other: str) -> None:
    key = world.host(other).read("/etc/ssh/ssh_host_ed25519_key.pub").strip()
    line = f"{host},{world.host(host).ip} {key}"
    world.shell("blep", f"{CONNECTIONS}; cp /root/.ssh/known_hosts /root/.ssh/kept")
    world.shell("blep", f"sed -i /^{host},/d /root/.ssh/known_hosts; echo '{line}' >>/root/.ssh/known_hosts")
    world.later("blep", "mv /root/.ssh/kept /root/.ssh/known_hosts")


@given(parsers.parse("rbee-hive is missing on {host}"))
def no_hive(world: World, host: str) -> None:
    world.shell(host, f"mv {HIVE} {HIVE}.away")
    world.later(host, f"mv {HIVE}.away {HIVE}")


@given(parsers.parse("rbee-hive on {host} does `{script}`"))
def odd_hive(world: World, host: str, script: str) -> None:
    world.shell(host, f"mv {HIVE} {HIVE}.away")
    world.host(host).write(HIVE, f"#!/bin/sh\n{script}\n", mode=0o755)
    world.later(host, f"mv {HIVE}.away {HIVE}")


@given(parsers.parse("the configuration of {host} also says"))
def configured(world: World, host: str, docstring: str) -> None:
    world.host(host).write(CONFIG, world.host(host).read(CONFIG) + "\n" + docstring + "\n")


@given(parsers.parse("a stranger listens on port {port:d} of {host}"))
def stranger(world: World, port: int, host: str) -> None:
    ip = world.host(host).ip
    serve = f"import socket, time; s = socket.create_server(('{ip}', {port})); time.sleep(600)"
    world.shell(host, f'systemd-run -q --unit=stranger python3 -c "{serve}"')
    world.shell(host, f"until ss -ltn | grep -q '{ip}:{port} '; do sleep 0.02; done")
    world.later(host, "systemctl stop stranger")


@given(parsers.parse("the program of workers on {host} crashes at its start"))
def crashing(world: World, host: str) -> None:
    world.shell(host, "printf 'not a model' >/var/lib/rbee/models/tiny.gguf.new")
    world.shell(host, f"mv {PROGRAM} {PROGRAM}.away")
    world.host(host).write(PROGRAM, "#!/bin/sh\necho the engine broke >&2\nexit 3\n", mode=0o755)
    world.later(host, f"mv {PROGRAM}.away {PROGRAM}; rm -f /var/lib/rbee/models/tiny.gguf.new")


@given(parsers.parse("a byte of the model tiny is flipped on {host}"))
def flipped(world: World, host: str) -> None:
    path = "/var/lib/rbee/models/tiny.gguf"
    flip = f"f = open('{path}', 'r+b'); f.seek(-9, 2); b = f.read(1)[0]; f.seek(-9, 2); f.write(bytes([b ^ 1]))"
    world.shell(host, f'touch -r {path} /run/stamp; python3 -c "{flip}"; touch -r /run/stamp {path}')
    world.later(host, f'python3 -c "{flip}"; touch -r /run/stamp {path}')


@when(parsers.parse("the process of {unit} on {host} is killed"))
def killed(world: World, unit: str, host: str) -> None:
    world.shell(host, f"systemctl kill --signal=KILL {unit}")


@when(parsers.parse("{unit} on {host} is restarted"))
@given(parsers.parse("{unit} on {host} is restarted"))
def restarted(world: World, unit: str, host: str) -> None:
    world.shell(host, f"systemctl restart {unit}")


@given(parsers.parse("the program of workers on {host} never gets ready"))
def never_ready(world: World, host: str) -> None:
    world.shell(host, f"mv {PROGRAM} {PROGRAM}.away")
    world.host(host).write(PROGRAM, '#!/bin/sh\n[ "$1" = --post-mortem ] || exec sleep 600\n', mode=0o755)
    world.later(host, f"mv {PROGRAM}.away {PROGRAM}")


@given(parsers.parse("the hub of {host} is not there"))
def no_hub(world: World, host: str) -> None:
    drop_in = "/etc/systemd/system/rbee-pool.service.d/hub.conf"
    world.host(host).write(drop_in, "[Service]\nEnvironment=HF_ENDPOINT=http://127.0.0.1:9\n")
    world.shell(host, "systemctl daemon-reload; systemctl restart rbee-pool")
    world.later(host, f"rm -r {drop_in.rpartition('/')[0]}; systemctl daemon-reload; systemctl restart rbee-pool")


@given(parsers.parse("{host} has no token"))
def no_token(world: World, host: str) -> None:
    world.shell(host, "mv /etc/rbee/token /etc/rbee/token.away")
    world.later(host, "mv /etc/rbee/token.away /etc/rbee/token")


@given(parsers.parse("the file {path} of {host} is open to others"))
def open_to_others(world: World, path: str, host: str) -> None:
    world.shell(host, f"chmod 644 {path}")
    world.later(host, f"chmod 600 {path}")


@given(parsers.parse("the disk of models on {host} has {size:d} MiB"))
def small_disk(world: World, host: str, size: int) -> None:
    where = "/var/lib/rbee/models"
    world.shell(
        host, f"mount -t tmpfs -o size={size}m,mode=755 small {where}; chown rbee: {where}; systemctl restart rbee-pool"
    )
    world.later(host, f"systemctl stop rbee-pool.service; umount -l {where}; systemctl start rbee-pool.service")


@given(parsers.parse("workstation has a model llama of acme's that mac lacks"))
def neighbour_has(world: World) -> None:
    give_llama(world.house)


@given(parsers.parse("the hub is told {faults}"))
def faulty_hub(hub: Hub, faults: str) -> None:
    hub.faults(**json.loads(faults))


@when("the hub does nothing wrong any more")
def mended_hub(hub: Hub) -> None:
    hub.faults()
