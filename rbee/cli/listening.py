"""Where a daemon listens: its socket unit says it, and a drop-in of ours changes it."""

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from rbee.adapters import process
from rbee.adapters.addresses import is_own
from rbee.adapters.files import locked, make_folder, permitted
from rbee.adapters.notify import split_address
from rbee.errors import Conflict, InvalidRequest, RbeeError

LOOPBACK = "loopback"
_FILE = "50-rbee-listen.conf"
_ADDRESSES = "ip -brief address shows this host's addresses"
_TEXT = """\
# Made by rbee; `{undo}` takes it away again.
[Socket]
ListenStream=
ListenStream={address}
# The address may come up after the socket.
FreeBind=yes
"""


def checked(address: str) -> str:
    """Return ``address`` as ListenStream= takes it: ``host:port`` with an IP address, or a port for all addresses.

    Raises:
        InvalidRequest: it is none.
    """
    import ipaddress  # noqa: PLC0415

    try:
        alone = address.isdigit()
        host, port = split_address(f"0.0.0.0:{address}" if alone else address)
        ip = ipaddress.ip_address(host)
        if port == 0:
            raise ValueError(address)
        if alone:
            return address
    except (ValueError, RbeeError):
        raise InvalidRequest(
            f"address is {address[:80]!r}, expected an IP address with a port, a port alone for every address, "
            f"or {LOOPBACK}",
            hint=_ADDRESSES,
        ) from None
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def local(address: str) -> str:
    """Return ``checked(address)``, of this host: with FreeBind= systemd would listen at any.

    Raises:
        InvalidRequest: it is no address, or no interface has it now.
    """
    found = checked(address)
    if not found.isdigit() and not is_own(split_address(found)[0]):
        raise InvalidRequest(f"no interface of this host has the address of {found}", hint=_ADDRESSES)
    return found


def is_loopback(address: str) -> bool:
    return address.startswith(("127.", "[::1]"))


class Listening:
    """The socket of one daemon, ``rbee-pool`` or ``rbee-queen``."""

    def __init__(self, name: str, *, user: bool, undo: str, environ: Mapping[str, str]) -> None:
        self._name = name
        self._scope = ["--user"] if user else []
        self._undo = undo
        self._file = _units(user, environ) / f"{name}.socket.d" / _FILE

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else change it meanwhile: a reload between another's stop and start leaves a socket that is deaf.

        Raises:
            Conflict: somebody does.
            NotPermitted: units cannot be written here.
        """
        folder = self._file.parent.parent
        with contextlib.ExitStack() as held:
            with permitted(folder):
                make_folder(folder)
                try:
                    held.enter_context(locked(folder, wait=False))
                except BlockingIOError:
                    raise Conflict(
                        f"another command changes where {self._name} listens",
                        hint=f"when it is done: systemctl status {self._name}.socket",
                    ) from None
            yield

    async def at(self) -> list[str]:
        """Return the addresses that systemd listens at, or would."""
        done = await self._systemctl("show", "--value", "-p", "Listen", f"{self._name}.socket")
        return [line.removesuffix(" (Stream)") for line in done.stdout.splitlines() if line.endswith(" (Stream)")]

    async def listen(self, address: str | None) -> None:
        """Have systemd listen at ``address`` (``checked``) now; None: where the unit says. What is so already stays up.

        Raises:
            NotPermitted: units cannot be written here.
            Conflict: another program listens there; it listens where it did before.
            ProgramFailed: systemd cannot listen there for another reason; likewise.
        """
        before = self._written()
        changed = self.restore() if address is None else self.move(address)
        if not changed and await self._is_up():
            return
        try:
            await self.apply()
        except process.ProgramFailed:
            taken = address is not None and _is_taken(address)  # while our own socket is down
            if changed:
                await self._back_to(before)
            if address is not None and taken:
                port = address.rpartition(":")[2]
                raise Conflict(
                    f"another program listens at {address}, so {self._name} cannot", hint=f"ss -ltnp sport = :{port}"
                ) from None
            raise

    def _written(self) -> str | None:
        return self._file.read_text(encoding="utf-8") if self._file.is_file() else None

    async def _is_up(self) -> bool:
        argv = ["systemctl", *self._scope, "is-active", "--quiet", f"{self._name}.socket"]
        return (await process.run(argv, timeout_s=120, check=False)).returncode == 0

    async def _back_to(self, text: str | None) -> None:
        if text is None:
            self.restore()
        else:
            self._write(text)
        with contextlib.suppress(RbeeError):
            await self.apply()

    def move(self, address: str) -> bool:
        """Let it listen at ``address`` (``checked``) from its next start on; return whether that is new.

        Raises:
            NotPermitted: units cannot be written here.
        """
        text = _TEXT.format(address=address, undo=self._undo)
        with permitted(self._file.parent.parent):
            if self._written() == text:
                return False
        self._write(text)
        return True

    def _write(self, text: str) -> None:
        with permitted(self._file.parent.parent):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(text, encoding="utf-8")
            self._file.chmod(0o644)

    def restore(self) -> bool:
        """Let it listen where the unit says again; return whether there was anything to undo."""
        with permitted(self._file.parent.parent):
            there = self._file.exists()
            self._file.unlink(missing_ok=True)
            if there and not any(self._file.parent.iterdir()):
                self._file.parent.rmdir()
        return there

    async def apply(self) -> None:
        """Have systemd listen where the units now say. Workers and what they generate go on."""
        await self.stop()
        await self._systemctl("enable", "--now", f"{self._name}.socket")
        await self._systemctl("start", f"{self._name}.service")

    async def restart(self) -> None:
        """The socket stays, unless the daemon does not come up with it."""
        await self._systemctl("enable", "--now", f"{self._name}.socket")
        try:
            await self._systemctl("restart", f"{self._name}.service")
        except process.ProgramFailed:
            await self.apply()

    async def stop(self) -> None:
        """Stop both, and only then let systemd read what changed: a socket that is up would be deaf at once."""
        await self._systemctl("stop", f"{self._name}.socket", f"{self._name}.service")
        await self._systemctl("daemon-reload")

    async def _systemctl(self, *arguments: str) -> process.Completed:
        try:
            argv = ["systemctl", "--no-ask-password", *self._scope, *arguments]
            return await process.run(argv, timeout_s=120)
        except process.ProgramFailed as error:
            error.hint = f"systemctl status {self._name}.socket; journalctl -u {self._name} -u {self._name}.socket"
            raise


def _is_taken(address: str) -> bool:
    """Say whether somebody listens at ``address`` (``checked``), or at a part of it."""
    host, port = split_address(f"[::]:{address}" if address.isdigit() else address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family, dualstack_ipv6=address.isdigit()).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _units(user: bool, environ: Mapping[str, str]) -> Path:
    if not user:
        return Path("/etc/systemd/system")
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Path(base) / "systemd/user"


def user_config(user: bool, environ: Mapping[str, str]) -> Path:
    """Return the folder of rbee's own configuration for that manager."""
    if not user:
        return Path("/etc/rbee")
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Path(base) / "rbee"
