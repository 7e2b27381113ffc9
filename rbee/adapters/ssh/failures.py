"""What ssh says when it fails, as the error an operator gets. Pure.

The wordings are those of OpenSSH 8 to 9 (sshconnect.c, ssh.c, clientloop.c); it exits 255 for each of them.
"""

import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

from rbee.errors import NotFound, NotPermitted, PoolUnreachable, RbeeError, Timeout

EX_SSH = 255
CONNECT_S = 10


class HostKeyUnknown(NotPermitted):
    """Nobody has said yet that this key is the host's."""


class HostKeyChanged(NotPermitted):
    """The host shows another key than the one that is known."""


class Far(NamedTuple):
    """Who could not be reached: our name for the host, and what ssh was given."""

    name: str
    target: str

    @property
    def shown(self) -> str:
        return self.name if self.target == self.name else f"{self.name} ({self.target})"


def failure(far: Far, stderr: str) -> RbeeError | None:
    """Return what ssh's, or sudo's, last words mean; None when they are neither's."""
    return _meant(far, stderr, (*_OF_SUDO, *_OF_SSH))


def _meant(far: Far, stderr: str, meanings: "tuple[tuple[str, Make], ...]") -> RbeeError | None:
    said = stderr.replace("\r", "")
    for pattern, make in meanings:
        if found := re.search(pattern, said, re.MULTILINE):
            return make(far, found, said)
    return None


def of_sudo(far: Far, stderr: str) -> RbeeError | None:
    """Return what sudo's last words mean; None when they are not sudo's."""
    return _meant(far, stderr, _OF_SUDO)


def unexplained(far: Far, stderr: str) -> RbeeError:
    """Return the error for an exit of 255 with words that we do not know."""
    last = _last(stderr) or "it said nothing"
    return PoolUnreachable(f"ssh to {far.shown} failed: {last}", hint=f"ssh -v {shlex.quote(far.target)} true")


Make = Callable[[Far, "re.Match[str]", str], RbeeError]


def _unknown_host(far: Far, found: "re.Match[str]", _: str) -> RbeeError:
    return PoolUnreachable(
        f"{far.shown}: no such host, {found[1]!r} cannot be resolved ({found[2].strip()})",
        hint=f"getent hosts {shlex.quote(found[1])}; another name or address is set by [hosts.{far.name}] ssh",
    )


def _refused(far: Far, found: "re.Match[str]", _: str) -> RbeeError:
    return PoolUnreachable(
        f"{far.shown} refuses ssh on port {found[1]}: no sshd listens there", hint="systemctl start ssh, on that host"
    )


def _no_route(far: Far, found: "re.Match[str]", _: str) -> RbeeError:
    return PoolUnreachable(
        f"{far.shown} cannot be reached: {found[1].lower()}", hint=f"is it on, and on this network? ping {far.name}"
    )


def _too_slow(far: Far, *_: object) -> RbeeError:
    return Timeout(
        f"{far.shown} did not answer ssh within {CONNECT_S} s", hint=f"is it on, and on this network? ping {far.name}"
    )


def _silent(far: Far, *_: object) -> RbeeError:
    return PoolUnreachable(
        f"{far.shown} went silent, and ssh gave it up", hint=f"is it on, and on this network? ping {far.name}"
    )


def _key_changed(far: Far, _: "re.Match[str]", said: str) -> RbeeError:
    listed = re.search(r"^Offending .*key in (.+):(\d+)$", said, re.MULTILINE)
    where = f", in line {listed[2]} of {listed[1]}" if listed else ""
    return HostKeyChanged(
        f"{far.shown} shows another host key than the one that is known{where}: it was installed anew, or it is not it",
        hint=f"if it was installed anew: ssh-keygen -R {shlex.quote(_host_of(far.target))}; ssh {far.target} true",
    )


def _key_unknown(far: Far, *_: object) -> RbeeError:
    return HostKeyUnknown(
        f"the host key of {far.shown} is not known yet",
        hint=f"ssh {shlex.quote(far.target)} true, and compare the fingerprint that it shows",
    )


def _denied(far: Far, found: "re.Match[str]", _: str) -> RbeeError:
    who = f"{found[1].rstrip(': ')} " if found[1] else ""
    return NotPermitted(
        f"{far.shown} does not let {who}in by ssh: permission denied ({found[2]})",
        hint=f"ssh-copy-id {shlex.quote(far.target)}; ssh-add -l shows the keys that are offered",
    )


def _jump(far: Far, *_: object) -> RbeeError:
    return PoolUnreachable(
        f"{far.shown} cannot be reached through its ProxyJump or ProxyCommand",
        hint=f"ssh -v {shlex.quote(far.target)} true",
    )


def _sudo(far: Far, *_: object) -> RbeeError:
    return NotPermitted(
        f"sudo on {far.shown} wants a password, and nobody can be asked for it",
        hint=f"let that user run sudo without one (NOPASSWD), or log in as root: [hosts.{far.name}] ssh",
    )


def _no_sudo(far: Far, *_: object) -> RbeeError:
    return NotFound(
        f"sudo is missing on {far.shown}, and [hosts.{far.name}] says to use it",
        hint=f"install sudo there, or log in as root: [hosts.{far.name}] ssh",
    )


def _bad_config(_: Far, found: "re.Match[str]", __: str) -> RbeeError:
    said = found[0].strip()
    owned = re.fullmatch(r"Bad owner or permissions on (.+)", said)
    hint = f"chmod go-w {shlex.quote(owned[1])}; ls -l shows whose it is" if owned else "correct that file"
    return NotPermitted(f"ssh does not take its configuration: {said}", hint=hint)


_OF_SUDO: tuple[tuple[str, Make], ...] = (
    (r"sudo: (?:command )?not found|(?:Unknown command|command not found): sudo", _no_sudo),
    (r"^sudo: .*(?:password is required|terminal is required)", _sudo),
)
_OF_SSH: tuple[tuple[str, Make], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY", _key_changed),
    (r"host key is known for .* and you have requested strict checking", _key_unknown),
    (r"^Host key verification failed", _key_unknown),
    (r"Could not resolve hostname (\S*?): (.*)$", _unknown_host),
    (r"^(?:Bad owner or permissions on|.*: Bad configuration option|.* line \d+: ).*$", _bad_config),
    (r"UNKNOWN port 65535|stdio forwarding failed", _jump),
    (r"connect to (?:host|address) .* port (\d+): Connection refused", _refused),
    (r"(?:Connection|Operation) timed out", _too_slow),
    (r"(No route to host|Network is unreachable|Network is down)", _no_route),
    (r"^(\S+: )?Permission denied \(([^)]*)\)", _denied),
    (r"Too many authentication failures()()", _denied),
    (r"Timeout, server .* not responding|Broken pipe|Connection reset|Connection closed", _silent),
)


def _host_of(target: str) -> str:
    return target.rpartition("@")[2].removeprefix("ssh://").partition(":")[0]


def _last(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def missing_program(far: Far, program: str) -> NotFound:
    """Return the error for a program that the far side does not have."""
    path = f"ssh {shlex.quote(far.target)} 'echo $PATH'"
    if program.startswith("rbee"):
        what, hint = "rbee is not installed there", f"install rbee on {far.name} (make install), or see {path}"
    else:
        what, hint = "it is not on PATH there", path
    return NotFound(f"{program or repr(program)} is missing on {far.shown}: {what}", hint=hint)
