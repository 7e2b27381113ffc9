"""A command for the far side: every argument arrives as it is, and the command ends when we do. Pure.

sshd gives one string to the login shell of whoever logs in, which may be bash, dash, zsh or fish. ``quoted`` is read
alike by all of them.
"""

import re
from collections.abc import Sequence

from rbee import __version__
from rbee.adapters.ssh.failures import CONNECT_S

UNATTENDED = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"ConnectTimeout={CONNECT_S}")
"""What any ssh of ours is told: nobody is there to be asked, and keys are checked."""

NO_PROGRAM = "rbee: no program "
"""What stands on standard error, before the program's name, when it is not there (exit 127)."""

ITS_OWN_255 = "rbee: it exited 255 itself"
"""What stands at the end of standard error when 255 is the command's exit status, and not ssh's."""

_HARMLESS = re.compile(r"[A-Za-z0-9_./:@+-][A-Za-z0-9_./:=@+-]*")  # zsh takes =ls for a path, fish %1 for a process

# Standard input is the leash: ssh closes it when our side is gone, however it went, and then the command's whole
# process group is told to end. setsid(1) makes that group; a plain sh has no job control.
_SCRIPT = f"""\
PATH=$PATH:$HOME/.local/bin; export PATH
command -v "$1" >/dev/null || {{ echo "{NO_PROGRAM}$1" >&2; exit 127; }}
"""
_LEASHED = f"""\
exec 3<&0
setsid "$@" </dev/null 3<&- & p=$!
{{ cat; kill -s TERM -- -$p || kill $p; sleep 10; kill -s KILL -- -$p; }} <&3 >/dev/null 2>&1 & w=$!
wait $p; s=$?
kill $w 2>/dev/null
[ $s -eq 255 ] && echo "{ITS_OWN_255}" >&2
exit $s
"""
_FED = 'exec "$@"\n'
_VERSION = f"RBEE_CALLER_VERSION={__version__}; export RBEE_CALLER_VERSION\n"
_SUDO = ("sudo", "-n", "--")


def line(argv: Sequence[str], *, sudo: bool = False, fed: bool = False, any_version: bool = False) -> str:
    """Return what ssh is to hand to the login shell.

    Args:
        sudo: run it as root, without a password.
        fed: standard input is the command's own, and so cannot be the leash.
        any_version: do not say of what version we are, so that an rbee of another does not refuse.
    """
    script = ("" if any_version else _VERSION) + _SCRIPT + (_FED if fed else _LEASHED)
    words = (*(_SUDO if sudo else ()), "sh", "-c", script, "rbee", *argv)
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Return ``word`` so that a shell, whichever it is, takes it as one word and changes nothing in it.

    shlex.quote leaves backslashes between single quotes, where fish still gives them a meaning.
    """
    if _HARMLESS.fullmatch(word):
        return word
    pieces = re.split(r"(['\\])", word)
    return "".join(_piece(piece) for piece in pieces if piece) or "''"


def _piece(piece: str) -> str:
    match piece:
        case "'":
            return '''"'"'''
        case "\\":
            return r'"\\"'
    return f"'{piece}'"
