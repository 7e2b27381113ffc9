"""Look at this machine and print as JSON all that the checks want to know of it.

The source of this file is sent to the host and run there, by rbee's Python where there is one: so it needs nothing
but the standard library, of Python 3.9 and later, and never stops at what it cannot see. Secrets stay on the host.
"""

from __future__ import annotations

import grp
import http.client
import json
import os
import platform
import pwd
import re
import shutil
import site
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DAEMONS = ("rbee-pool.service", "rbee-queen.service", "rbee-broker.service")
UNITS = (
    *DAEMONS,
    "rbee-pool.socket",
    "rbee-queen.socket",
    "rbee-broker.socket",
    "rbee-token.service",
    "rbee-workers.slice",
)
PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,NeedDaemonReload,WatchdogUSec,FragmentPath,"
    "DropInPaths,MainPID,User,Listen,ControlGroup,MemoryMax"
)
PATHS = ("/etc/rbee", "/etc/rbee/token", "/etc/rbee/rbee.toml", "/run/rbee/workers", "/run/rbee/broker.sock")
TOKEN = Path("/etc/rbee/token")
HTTP_S = 8.0  # a daemon may have to be started by the question
PROBE = {"memory": 64 << 20, "pids": 16, "cpu": 0.5}
READ_LIMITS = """
import json, os
def first(*paths):
    for path in paths:
        try:
            return open(path).read().split()
        except OSError: pass
found = {}
for line in open("/proc/self/cgroup"):
    _, names, path = line.strip().split(":", 2)
    for name in names.split(",") if names else ["", "unified"]:
        at = os.path.join("/sys/fs/cgroup", name) + path + "/"
        memory = first(at + "memory.limit_in_bytes", at + "memory.max")
        pids = first(at + "pids.max")
        old = (first(at + "cpu.cfs_quota_us") or []) + (first(at + "cpu.cfs_period_us") or [])
        quota = first(at + "cpu.max") or old
        for key, value in (("memory", memory), ("pids", pids), ("cpu", quota)):
            if value and key not in found: found[key] = value
print(json.dumps(found))
"""


def run(*argv: str, timeout_s: float = 20) -> tuple[int, str, str]:
    """Return (exit status, standard output, standard error); 127 when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def rows(*argv: str) -> list[str]:
    """Return the lines a program prints."""
    return [line for line in run(*argv)[1].splitlines() if line.strip()]


def read(path: str | Path) -> str | None:
    """Return the text of a file; None when it cannot be had."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def whose() -> str:
    """Say in which manager rbee's units are: system, user or none."""
    if _loaded("systemctl"):
        return "system"
    return "user" if os.geteuid() and _loaded("systemctl", "--user") else "none"


def _loaded(*systemctl: str) -> bool:
    return run(*systemctl, "show", "--value", "-p", "LoadState", "rbee-pool.socket")[1] == "loaded"


def units(systemctl: tuple[str, ...]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the properties of rbee's units and of the workers there are."""
    _, listed, _ = run(*systemctl, "list-units", "--plain", "--no-legend", "rbee-worker-*.service")
    workers = [line.split()[0] for line in listed.splitlines() if line.strip()]
    _, shown, _ = run(*systemctl, "show", "-p", PROPERTIES, *UNITS, *workers)
    found = {}
    for block in shown.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[properties.get("Id", "")] = properties
    return found, workers


def process(pid: int, tokens: list[str]) -> dict[str, Any] | None:
    """Ask the running process itself how it is confined; None when it has ended, as the broker does when idle."""
    status = dict(line.split(":", 1) for line in (read(f"/proc/{pid}/status") or "").splitlines() if ":" in line)
    environ = read(f"/proc/{pid}/environ")
    found = {
        "pid": pid,
        "uid": int(status.get("Uid", "-1").split()[0]),
        "no_new_privs": status.get("NoNewPrivs", "").strip(),
        "capabilities": status.get("CapEff", "").strip(),
        "seccomp": status.get("Seccomp", "").strip(),
        "mounts": link(f"/proc/{pid}/ns/mnt"),
        "home_seen": same(f"/proc/{pid}/root/home", "/home"),
        "token_in_environment": None if environ is None else any(token in environ for token in tokens),
    }
    return found if status and _lives(pid) else None


def _lives(pid: int) -> bool:
    state = re.search(r"^State:\s+(\S)", read(f"/proc/{pid}/status") or "", re.MULTILINE)
    return state is not None and state[1] not in "ZX"


def link(path: str) -> str | None:
    """Return where a link leads; None when that cannot be had."""
    try:
        return str(Path(path).readlink())
    except OSError:
        return None


def same(one: str, other: str) -> bool | None:
    """Say whether both are one directory; None when that cannot be seen."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return None


def path(name: str | Path) -> dict[str, Any]:
    """Return kind, mode and owner of what is there."""
    try:
        found = Path(name).stat()
    except FileNotFoundError:
        return {"missing": True}
    except OSError as error:
        return {"denied": str(error)}
    return {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": _name(pwd.getpwuid, found.st_uid),
        "group": _name(grp.getgrgid, found.st_gid),
        "size": found.st_size,
    }


def _name(look_up: Any, number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def user(name: str) -> dict[str, Any] | None:
    """Return uid, home and shell; None when there is no such user."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return {"uid": found.pw_uid, "shell": found.pw_shell, "home": found.pw_dir}


def group(name: str) -> bool:
    """Say whether there is such a group."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def listening() -> list[str]:
    """Return address:port of every TCP socket that listens."""
    found = []
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in (read(f"/proc/net/{name}") or "").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                found.append(f"{_address(family, address)}:{int(port, 16)}")
    return found


def _address(family: int, text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    shown = socket.inet_ntop(family, b"".join(words))
    return f"[{shown}]" if family == socket.AF_INET6 else shown


def packages(program: str) -> list[str]:
    """Return the folders of packages that a command of Nix names itself: there the interpreter knows none of them."""
    wrapped = Path(program).resolve().with_name(f".{Path(program).name}-wrapped")
    return re.findall(r"""["'](/[^"']+/site-packages)["']""", read(wrapped) or "")


def settings(own: bool) -> dict[str, Any]:
    """Return what rbee.toml says; ``error`` when rbee itself cannot read it."""
    for folder in packages(shutil.which("rbee-hive") or "rbee-hive"):
        site.addsitedir(folder)
    try:
        from rbee import __version__, config  # noqa: PLC0415  (there may be none)

        read_ = config.load(None, os.environ)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with this rbee is a finding, not a crash)
        version = sys.modules["rbee"].__version__ if "rbee" in sys.modules else ""
        return {"version": version, "error": str(error) or type(error).__name__}
    state = Path("/var/lib/rbee") if os.geteuid() == 0 or not own else config.state_dir(os.environ)
    return {
        "version": __version__,
        "error": "",
        "file": read_.file,
        "pool": config.pool_id(read_),
        "queen": read_.pool.queen,
        "queen_ca": read_.pool.tls_ca,
        "own_pool": read_.hive.pool,
        "own_ca": read_.hive.tls_ca,
        "worker_ports": list(read_.pool.port_range),
        "models": read_.pool.models_dir or str(state / "models"),
        "state": str(state),
        "declared": {
            "models": [name for name, model in read_.models.items() if model.fetch],
            "workers": list(read_.workers),
        },
    }


def tokens(own: bool) -> list[str]:
    """Return the fleet tokens this user may read."""
    for file in (Path.home() / ".config/rbee/token" if own else TOKEN, TOKEN):
        text = read(file)
        if text:
            return [line for line in text.split() if len(line) >= 16]
    return []


def ask(url: str, route: str, token: str, ca: str, body: Any = None) -> tuple[Any, str]:
    """Return (answer, error) of a daemon; with a ``body`` it is posted."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.rstrip("/") + route, data)  # noqa: S310  (http or https: config checked it)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        context = ssl.create_default_context(cafile=ca or None) if url.startswith("https:") else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
        )
        with opener.open(request, timeout=HTTP_S) as answer:
            return json.loads(answer.read()), ""
    except urllib.error.HTTPError as error:
        return None, f"HTTP {error.code}"
    except http.client.HTTPException as error:
        return None, f"what answers speaks no HTTP: {str(error)[:80]!r}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return None, str(getattr(reason, "strerror", "") or reason)


def cgroups() -> dict[str, Any]:
    """Return how control groups are mounted, and which controllers the kernel offers."""
    kinds = [line.split()[2] for line in (read("/proc/mounts") or "").splitlines() if "/sys/fs/cgroup" in line]
    unified = "cgroup2" in kinds
    mode = ("hybrid" if unified else "legacy") if "cgroup" in kinds else "unified" if unified else "none"
    offered = (read("/sys/fs/cgroup/cgroup.controllers") or "").split()
    mounted = [line.split()[3] for line in (read("/proc/mounts") or "").splitlines() if line.split()[2] == "cgroup"]
    return {"mode": mode, "controllers": offered or sorted({one for each in mounted for one in each.split(",")})}


def limits() -> dict[str, Any]:
    """Start nothing but a look at its own limits where workers run, and return what the kernel will enforce."""
    asked = (f"MemoryMax={PROBE['memory']}", f"TasksMax={PROBE['pids']}", f"CPUQuota={PROBE['cpu']:.0%}")
    given = [word for limit in asked for word in ("-p", limit)]
    how = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--slice=rbee-workers.slice"]
    code, out, err = run(*how, f"--unit=rbee-verify-{os.getpid()}", *given, sys.executable, "-ISc", READ_LIMITS)
    if code:
        return {"error": err or f"systemd-run exited {code}"}
    return _numbers(json.loads(out))


def _numbers(said: dict[str, list[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {"error": ""}
    for key in ("memory", "pids"):
        value = said.get(key, ["max"])[0]
        found[key] = int(value) if value.isdigit() else None
    quota = said.get("cpu", [])
    found["cpu"] = int(quota[0]) / int(quota[1]) if len(quota) == 2 and quota[0].isdigit() else None
    return found


def worker_limit(properties: dict[str, str]) -> int | None:
    """Return the memory limit that a worker's control group has in the kernel, in bytes; None for none."""
    for at in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = (read(at + properties.get("ControlGroup", "") + "/" + name) or "").strip()
            if text.isdigit() and int(text) < 1 << 62:
                return int(text)
    return None


def gpus() -> dict[str, Any]:
    """Return the NVIDIA cards on the PCI bus, the driver, and its device nodes."""
    cards = [
        device.name
        for device in Path("/sys/bus/pci/devices").glob("*")
        if (read(device / "vendor") or "").strip() == "0x10de" and (read(device / "class") or "").startswith("0x03")
    ]
    nodes = {str(node): path(node) for node in sorted(Path("/dev").glob("nvidia*")) if not node.is_dir()}
    return {"cards": cards, "driver": (read("/proc/driver/nvidia/version") or "").split("\n")[0], "nodes": nodes}


def models(folder: str) -> dict[str, Any]:
    """Return every record with its files as they are now, and downloads that nobody goes on with."""
    at = Path(folder)
    try:
        names = sorted(at.iterdir())
    except OSError as error:
        return {"error": str(error), "records": [], "partials": []}
    records = [record(name) for name in names if name.suffix == ".json" and not name.name.endswith(".partial.json")]
    partials = [
        {"path": str(name), "age_s": old_s} for name in at.rglob("*.partial") if (old_s := age_s(name)) is not None
    ]
    return {"error": "", "records": records, "partials": partials}


def age_s(name: Path) -> float | None:
    """Return how long ago a file was written; None when it has just been finished, or leads nowhere."""
    try:
        return time.time() - name.stat().st_mtime
    except OSError:
        return None


def record(name: Path) -> dict[str, Any]:
    """Return one record: model, reference and files; ``error`` when it cannot be read."""
    try:
        said = json.loads(name.read_bytes())
        files = [model_file(file) for file in said["files"]]
        return {
            "path": str(name),
            "model": said["model"]["id"],
            "reference": said["model"]["reference"],
            "files": files,
            "error": "",
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"path": str(name), "model": name.stem, "reference": "", "files": [], "error": repr(error)}


def model_file(said: dict[str, Any]) -> dict[str, Any]:
    """Return a file as its record has it, and its size and first bytes as they are."""
    found = {"path": said["path"], "size": said["size_bytes"], "sha256": said.get("sha256", "")}
    try:
        with Path(said["path"]).open("rb") as stream:
            found.update(magic=stream.read(4).decode("latin-1"), size_found=os.fstat(stream.fileno()).st_size)
    except OSError as error:
        found.update(magic="", size_found=None, problem=error.strerror)
    return found


def disk(folder: str) -> dict[str, Any]:
    """Return bytes and inodes of the file system that ``folder`` is or will be on."""
    at = Path(folder)
    while not at.exists() and at != at.parent:
        at = at.parent
    found = os.statvfs(at)
    return {
        "path": str(at),
        "total": found.f_blocks * found.f_frsize,
        "free": found.f_bavail * found.f_frsize,
        "inodes": found.f_files,
        "inodes_free": found.f_favail,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
    }


def memory() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    lines = (read("/proc/meminfo") or "").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.split()[1:]}


def firewall() -> dict[str, Any]:
    """Return which firewall rules could be read, for the sentence of a port that is blocked."""
    for argv in (("nft", "list", "ruleset"), ("iptables", "-S")):
        code, out, _ = run(*argv)
        if code == 0:
            return {"tool": argv[0], "rules": len(out.splitlines())}
    return {"tool": "", "rules": 0}


def nixos() -> dict[str, Any] | None:
    """Return what is booted, what is switched to, and what the profile says; None elsewhere."""
    if not Path("/etc/NIXOS").exists():
        return None
    parts = ("kernel", "initrd", "kernel-modules")
    at = {
        name: {part: os.path.realpath(f"/run/{name}/{part}") for part in parts}
        for name in ("booted-system", "current-system")
    }
    return {
        "booted": at["booted-system"],
        "current": at["current-system"],
        "running": os.path.realpath("/run/current-system"),
        "profile": os.path.realpath("/nix/var/nix/profiles/system"),
    }


def secrets(known: list[str], file: str | None) -> dict[str, Any]:
    """Return how the token lies on the disk; the token itself stays here."""
    return {
        "readable": bool(known),
        "in_config": any(token in (read(file) or "") for token in known) if file else False,
        "workers": {str(one): path(one) for one in sorted(Path("/run/rbee/workers").glob("*"))}
        if os.access("/run/rbee/workers", os.R_OK)
        else {},
    }


def survey(mode: str) -> dict[str, Any]:
    """Return all of it."""
    own = mode == "user"
    systemctl = ("systemctl", "--user") if own else ("systemctl",)
    known, said = tokens(own), settings(own)
    shown, workers = units(systemctl)
    # One that starts is systemd's own process still, not yet confined.
    pids = {
        name: int(unit.get("MainPID") or 0)
        for name in (*DAEMONS, *workers)
        if (unit := shown.get(name, {})).get("ActiveState") != "activating"
    }
    worker_limits = {name: worker_limit(shown.get(name, {})) for name in workers}  # before we ask who lives
    token = known[0] if known else ""
    facts: dict[str, Any] = {
        "mode": mode,
        "root": os.geteuid() == 0,
        "login": _name(pwd.getpwuid, os.geteuid()),
        "kernel": platform.system(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "systemd": run("systemctl", "--version")[1].split("\n")[0],
        "state": run("systemctl", "is-system-running")[1],
        "failed": [
            line.split()[0]
            for line in run("systemctl", "list-units", "--failed", "--plain", "--no-legend")[1].splitlines()
            if line
        ],
        "time": dict(line.split("=", 1) for line in run("timedatectl", "show")[1].splitlines() if "=" in line),
        "settings": said,
        "units": shown,
        "workers": workers,
        "processes": {name: found for name, pid in pids.items() if pid and (found := process(pid, known))},
        "worker_limits": worker_limits,
        "init_mounts": link("/proc/1/ns/mnt"),
        "listening": listening(),
        "users": {"rbee": user("rbee")},
        "groups": {"rbee-token": group("rbee-token")},
        "paths": {name: path(name) for name in (*PATHS, *(said[key] for key in ("state", "models") if key in said))},
        "cgroups": cgroups(),
        "limits": limits() if mode == "system" and os.geteuid() == 0 else None,
        "gpus": gpus(),
        "memory": memory(),
        "firewall": firewall(),
        "nixos": nixos(),
        "secrets": secrets(known, said.get("file")),
    }
    if shown.get("rbee-queen.service", {}).get("LoadState") == "loaded":
        facts["paths"]["/var/lib/rbee-queen"] = path("/var/lib/rbee-queen/")
    if not said["error"]:
        facts["models"] = models(said["models"])
        facts["disk"] = disk(said["models"])
        for url in said["queen"].split(","):
            facts["queen"] = answers(url.strip(), "/v2/pools", token, said["queen_ca"])
            if not facts["queen"]["error"] and not facts["queen"]["refusal"]:
                break  # she reigns; the others stand by
        facts["pool"] = answers(said["own_pool"], "/v2/state", token, said["own_ca"])
        if facts["pool"]["answer"]:
            facts["pool"]["answer"].pop("worker_secrets", None)
            facts["sync"] = ask(said["own_pool"], "/v2/sync", token, said["own_ca"], {"dry_run": True})
    return facts


def answers(url: str, route: str, token: str, ca: str) -> dict[str, Any]:
    """Return a daemon's health and what it says on ``route``, each with why not."""
    health, error = ask(url, "/health", "", ca)
    if health is None and error != "HTTP 401":
        return {"url": url, "health": None, "error": error, "answer": None, "refusal": ""}
    answer, refusal = ask(url, route, token, ca)
    return {"url": url, "health": health or {}, "error": "", "answer": answer, "refusal": refusal}


if __name__ == "__main__":
    print(json.dumps(survey(whose())))  # noqa: T201  (its standard output is its answer)
