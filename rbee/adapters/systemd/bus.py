"""One connection to a systemd manager, and how our properties look on it. The only module that knows pystemd.

pystemd holds the GIL during a call (a few milliseconds, PID 1 answers from memory), so callers lose nothing by
calling from the event loop; what may take long are jobs, and those are awaited as signals (``watch``).
"""

import errno
import fcntl
import os
import re
import select
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from pystemd.dbusexc import DBusBaseError
from pystemd.dbuslib import DBus, DBusAddress, apply_signature, path_encode
from pystemd.systemd1.manager import Manager
from pystemd.systemd1.unit_signatures import KNOWN_UNIT_SIGNATURES

from rbee.errors import Conflict, NoManager, NotFound, NotPermitted, RbeeError
from rbee.pool_core.sandbox import DENIED_CALLS
from rbee.pool_core.unit import Mode

SYSTEMD = b"org.freedesktop.systemd1"
MANAGER_PATH = b"/org/freedesktop/systemd1"
UNITS_PATH = b"/org/freedesktop/systemd1/unit"
MANAGER, UNIT, SERVICE, SOCKET = (SYSTEMD + b"." + name for name in (b"Manager", b"Unit", b"Service", b"Socket"))
PROPERTIES = b"org.freedesktop.DBus.Properties"

_NOBODY = re.compile(r"org\.freedesktop\.systemd1\b(?!\.)")
"""In what a bus says where nobody has systemd's name (yet): it is not known, has no owner, or could not be started."""

GREETING_S, ANSWER_S = 5.0, 10.0
"""How long a bus may take to greet us, and anybody to answer: our process stands still, and has a watchdog."""

os.environ.setdefault("SYSTEMD_BUS_TIMEOUT", f"{ANSWER_S:g}")  # which libsystemd reads for each call

_CUT = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT})

Properties = Mapping[str, object]
Signal = Callable[[bytes, bytes, Any], None]


class Peer(NamedTuple):
    """An interface of an object of somebody on the bus who is not systemd itself."""

    name: bytes
    path: bytes
    interface: bytes


class Bus:
    """An open connection. Not for two threads at once."""

    _open = False

    def __init__(self, mode: Mode) -> None:
        """Connect.

        Raises:
            NoManager: nothing answers; the hint says what to do about it.
        """
        self._mode = mode
        # An inherited DBUS_SESSION_BUS_ADDRESS may be another user's, and would win: name our own.
        self._bus = DBus() if mode is Mode.SYSTEM else DBusAddress(_user_address())
        self._callbacks: list[Callable[..., None]] = []
        try:
            self._bus.open()
        except DBusBaseError as error:
            raise self._unreachable(error) from None
        self._open = True
        # It has been greeted, and says something at once. Else the first call would wait for 90 s, and hold the GIL.
        there = select.poll()
        there.register(self.fileno(), select.POLLIN)
        if not there.poll(GREETING_S * 1000):
            self.close()
            raise self._lost(f"no answer within {GREETING_S:g} s")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._bus.close()

    __del__ = close  # of one that was opened for somebody who had been cancelled meanwhile

    def __enter__(self) -> "Bus":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: bytes, signature: bytes = b"", *arguments: Any) -> Any:
        """Call a method of the manager and return its answer."""
        return self._call(MANAGER_PATH, MANAGER, method, signature, *arguments)

    def get(self, path: bytes, interface: bytes, name: bytes) -> Any:
        """Return one property of an object of the manager's."""
        return self._call(path, PROPERTIES, b"Get", b"ss", interface, name)

    def ask(self, peer: Peer, method: bytes, signature: bytes = b"", *arguments: Any) -> Any:
        """Call a method of somebody else and return the answer. Raises RbeeError with what they said."""
        return self._asked(peer, method, signature, arguments).body

    def ask_property(self, peer: Peer, name: bytes) -> Any:
        return self.ask(peer._replace(interface=PROPERTIES), b"Get", b"ss", peer.interface, name)

    def ask_descriptor(self, peer: Peer, method: bytes, signature: bytes, *arguments: Any) -> int:
        """Call a method that answers with a file descriptor; it is the caller's to close."""
        message = self._asked(peer, method, signature, arguments)
        return fcntl.fcntl(message.body, fcntl.F_DUPFD_CLOEXEC, 3)  # the message closes the one it came in

    def properties(self, unit: str, interface: bytes) -> dict[str, Any]:
        """Return all properties of one interface of a unit."""
        found = self._call(unit_path(unit), PROPERTIES, b"GetAll", b"s", interface)
        return {key.decode(): value for key, value in found.items()} if isinstance(found, dict) else {}

    def timestamp_us(self, unit: str, name: bytes) -> int:
        """Return a wall clock timestamp of a unit, microseconds since the epoch; 0 when it never was."""
        found = self._call(unit_path(unit), PROPERTIES, b"Get", b"ss", UNIT, name)
        return found if isinstance(found, int) else 0

    def start_transient(self, name: str, properties: Properties, also: tuple[str, Properties] | None = None) -> bytes:
        """Make and start a unit, ``also`` an auxiliary one with it; return the job.

        Raises:
            Conflict: a unit of one of these names exists.
        """
        manager = Manager(bus=self._bus)
        auxiliary = [(also[0].encode(), _encoded(also[1]))] if also else []
        try:
            job: bytes = manager.StartTransientUnit(MANAGER, name.encode(), b"fail", _encoded(properties), auxiliary)
        except DBusBaseError as error:
            raise self._translated(error, name) from None
        return job

    def on_signal(
        self, path: bytes | None, interface: bytes, member: bytes, handler: Signal, *, sender: bytes = SYSTEMD
    ) -> None:
        """Let ``handler`` have (member, path, body) of each such signal, while ``process`` runs."""

        def callback(message: Any, *, error: object, userdata: object) -> None:  # noqa: ARG001  (pystemd's keywords)
            message.process_reply(False)
            handler(member, message.get_path(), message.body)

        self._callbacks.append(callback)  # libsystemd keeps only its address
        try:
            self._bus.match_signal(sender, path, interface, member, callback)
        except DBusBaseError as error:
            raise self._unreachable(error) from None

    def fileno(self) -> int:
        return int(self._bus.get_fd())

    def process(self) -> None:
        """Handle all that has arrived. Raises NoManager when the connection is lost."""
        # pystemd does not pass on "nothing more to do", but a message that it handled is never empty; but for the
        # last one, which libsystemd makes itself when it has closed its descriptor, whose number is free from then on.
        try:
            while not self._bus.process().is_empty():
                pass
        except DBusBaseError as error:
            raise self._unreachable(error) from None
        if self._bus.get_fd() < 0:
            raise self._lost(os.strerror(errno.ECONNRESET))

    def _call(self, path: bytes, interface: bytes, method: bytes, signature: bytes, *arguments: Any) -> Any:
        try:
            return self._bus.call_method(
                SYSTEMD, path, interface, method, apply_signature(signature, list(arguments))
            ).body
        except DBusBaseError as error:
            named = arguments[0] if arguments and isinstance(arguments[0], bytes) else b""
            raise self._translated(error, named.decode()) from None

    def _asked(self, peer: Peer, method: bytes, signature: bytes, arguments: tuple[Any, ...]) -> Any:
        words = apply_signature(signature, list(arguments))
        try:
            return self._bus.call_method(peer.name, peer.path, peer.interface, method, words)
        except DBusBaseError as error:
            if -error.errno in _CUT:
                raise self._unreachable(error) from None
            said = _text(error.err_message) or str(error).splitlines()[0]
            raise RbeeError(f"{peer.name.decode()} refused {method.decode()}: {said}") from None

    def _translated(self, error: DBusBaseError, unit: str) -> RbeeError:
        said = _text(error.err_message) or str(error).splitlines()[0]
        match -error.errno:
            case errno.EACCES | errno.EPERM:
                return NotPermitted(
                    f"systemd does not let uid {os.geteuid()} manage {unit or 'units'}: {said}",
                    hint='run this as root, or set [pool] mode = "user"',
                )
            case number if number in _CUT or _NOBODY.search(said):
                return self._unreachable(error)
            case errno.EEXIST:
                return Conflict(f"unit {unit} exists already")
            case errno.ENOENT | errno.ENXIO:
                return NotFound(f"no unit {unit}")
        if "NoSuchUnit" in f"{_text(error.err_name)} {said}":
            return NotFound(f"no unit {unit}")
        return RbeeError(f"systemd refused {unit}: {said}")

    def _unreachable(self, error: DBusBaseError) -> NoManager:
        return self._lost(os.strerror(-error.errno) if error.errno < 0 else _text(error.err_message))

    def _lost(self, why: str) -> NoManager:
        if self._mode is Mode.USER:
            return NoManager(
                f"your systemd user manager does not answer at {_user_socket()}: {why}",
                hint=f"loginctl enable-linger {os.environ.get('USER') or os.geteuid()}"
                f" && export XDG_RUNTIME_DIR=/run/user/{os.geteuid()}",
            )
        return NoManager(
            f"systemd does not answer on the system bus: {why}",
            hint="rbee needs systemd as PID 1 and dbus: systemctl is-system-running",
        )


def unit_path(unit: str) -> bytes:
    """Return the D-Bus path of a unit."""
    encoded: bytes = path_encode(UNITS_PATH, unit.encode())
    return encoded


def _user_socket() -> str:
    return f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.geteuid()}'}/bus"


def _user_address() -> bytes:
    return f"unix:path={quote(_user_socket(), safe='/-_.')}".encode()


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _bytes(value: object) -> Any:
    """Return text as bytes, however deep it lies."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list | tuple):
        return type(value)(_bytes(item) for item in value)
    return value


def _encoded(properties: Properties) -> dict[bytes, Any]:
    return {key.encode(): value for key, value in properties.items()}


def _usec(name: bytes) -> Callable[[bytes, Any], tuple[bytes, bytes, Any]]:
    return lambda _, seconds: (name, b"t", round(seconds * 1e6))


def _commands(key: bytes, argvs: Iterable[list[str]]) -> tuple[bytes, bytes, Any]:
    """Use the old form: ``ExecStartEx`` is written as such to the unit's file by systemd 252, which knows no such key.

    The unit then lives until the next daemon-reload and can never be started again. A program may have a ``-`` before
    it, as in unit files: then what comes after it runs although it fails.
    """
    programs = [(argv[0].removeprefix("-"), argv) for argv in argvs]
    return (
        key,
        b"a(sasb)",
        [(program.encode(), _bytes([program, *argv[1:]]), program != argv[0]) for program, argv in programs],
    )


def _as(signature: bytes, encode: Callable[[Any], Any] = _bytes) -> Callable[[bytes, Any], tuple[bytes, bytes, Any]]:
    return lambda key, value: (key, signature, encode(value))


_NAMESPACES = {"cgroup": 0x02000000}  # CLONE_NEWCGROUP: namespaces that may be made (clone(2))

# D-Bus types as of systemd 252 (src/core/dbus-*.c), each seen accepted. pystemd's own table lacks many, and wants
# some values as D-Bus has them, where ours are as in unit files.
KNOWN_UNIT_SIGNATURES.update(
    {
        # pystemd cuts these off, and 2.01 times a million is a little less than it should be.
        b"CPUQuota": _usec(b"CPUQuotaPerSecUSec"),
        b"RestartSec": _usec(b"RestartUSec"),
        b"StartLimitIntervalSec": _usec(b"StartLimitIntervalUSec"),
        b"TimeoutStartSec": _usec(b"TimeoutStartUSec"),
        b"TimeoutStopSec": _usec(b"TimeoutStopUSec"),
        b"WatchdogSec": _usec(b"WatchdogUSec"),
        b"After": _as(b"as"),
        b"CacheDirectory": _as(b"as"),
        b"CacheDirectoryMode": b"u",
        b"CapabilityBoundingSet": _as(b"t", lambda names: 0 if not names else _no_names(names)),
        b"DeviceAllow": _as(b"a(ss)"),
        b"Environment": _as(b"as", lambda pairs: [f"{key}={value}".encode() for key, value in pairs.items()]),
        b"ExecStart": _commands,
        b"ExecStopPost": _commands,
        b"KeyringMode": b"s",
        b"LoadCredential": _as(b"a(ss)"),
        b"OOMScoreAdjust": b"i",
        b"ProtectClock": b"b",
        b"ProtectHostname": b"b",
        b"ProtectKernelLogs": b"b",
        b"ProtectProc": b"s",
        b"RestartPreventExitStatus": _as(b"(aiai)", lambda statuses: (list(statuses), [])),
        b"RestrictAddressFamilies": _as(b"(bas)", lambda families: (True, _bytes(families))),
        b"RestrictNamespaces": _as(b"t", _NAMESPACES.__getitem__),
        b"RestrictSUIDSGID": b"b",
        b"SupplementaryGroups": _as(b"as"),
        b"SystemCallArchitectures": _as(b"as"),
        b"SystemCallErrorNumber": _as(b"i", lambda name: getattr(errno, name)),
        b"SystemCallFilter": _as(b"(bas)", lambda calls: (True, _bytes(calls))),
        DENIED_CALLS.encode(): lambda _, calls: (b"SystemCallFilter", b"(bas)", (False, _bytes(calls))),
        b"UMask": b"u",
    }
)


def _no_names(names: object) -> int:
    raise RbeeError(f"CapabilityBoundingSet is {names!r}, expected an empty list: workers have no capability")
