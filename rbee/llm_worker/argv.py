"""llm-worker-rbee: one process, one model: inference over HTTP. Started by systemd, never by hand.

Usage:
  llm-worker-rbee --id=<id> --model=<alias> --backend=<name> --address=<host:port> --ctx=<tokens> --slots=<n>
                  --idle=<seconds> --threads=<n> [--kv=<type>] [--batch=<tokens>] [--gpu=<n>] [--split=<n>]
                  [--gpu-layers=<n>] [--priority=<n>] [--pinned] [--spare] [--keep] [--declared] [--limited]
                  [--lora=<path>]... [--quoted] <path>...
  llm-worker-rbee --post-mortem --id=<id>
  llm-worker-rbee --help

Options:
  --id=<id>              Its name, as in rbee-worker-<id>.service.
  --model=<alias>        What the model is called by those who ask for it.
  --backend=<name>       cpu, cuda, rocm, vulkan or metal.
  --address=<host:port>  Where it listens, if systemd passed no socket.
  --ctx=<tokens>         Context of each slot; the model's own length if that is less.
  --slots=<n>            How many answers are generated at once.
  --idle=<seconds>       Exit after so long without a request; the socket brings it back.
  --threads=<n>          For all slots together; 0: one per core, at most 8 a slot.
  --kv=<type>            How keys and values are kept, f16 or q8_0 [default: f16].
  --batch=<tokens>       How many tokens of all slots are read in one step [default: 128].
  --gpu=<n>              Which GPU, as the driver numbers them; 0,1 splits the model over both.
  --split=<n>            How many percent of the model each of those takes: 75,25.
  --gpu-layers=<n>       How many layers are there, the output layer first; the rest stays on the host.
  --lora=<path>          An adapter over the model; several in this order.
  --priority=<n>         Of idle workers the lower is evicted first (for those who decide that).
  --pinned               It is never evicted (for those who decide that).
  --spare                It was made for a deep queue (as well).
  --keep                 Leave conversations in $CACHE_DIRECTORY when it goes to sleep, and take them up again.
  --declared             rbee.toml declares it (for those who compare the two).
  --limited              Its memory limit was asked for (as well); otherwise it was predicted.
  --quoted               All values are percent-encoded, so that nothing on the way takes a $ for its own.
  --post-mortem          Tell the journal how the worker ended (for ExecStopPost=).
  --help                 Show this.

The bearer secret is read from $CREDENTIALS_DIRECTORY/secret.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from docopt import DocoptExit, docopt

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.fields import items, name, number, text
from rbee.wire.workers import MOST_LAYERS, Backend, Kv

_NUMBERS = ("--ctx", "--slots", "--idle", "--threads", "--batch", "--gpu-layers")


_FLAGS = ("--help", "--post-mortem", "--quoted", "--pinned", "--spare", "--priority", "--declared", "--limited")
HIGHEST_GPU = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, checked."""

    id: str = name()
    model: str = text(longest=300, shortest=1)
    backend: Backend
    address: str = text(longest=300, shortest=1)
    ctx: int = number(low=64, high=1 << 20, unit="tokens")
    slots: int = number(low=1, high=64)
    idle: int = number(low=1, high=30 * 86_400, unit="s")
    threads: int = number(low=0, high=1024)
    gpu: tuple[int, ...] = items(longest=64, default=())
    split: tuple[int, ...] = items(longest=64, default=())
    kv: Kv = Kv.F16
    batch: int = number(low=1, high=1 << 20, default=128, unit="tokens")
    gpu_layers: int | None = number(low=1, high=MOST_LAYERS, default=None, unit="layers")
    lora: tuple[str, ...] = items(longest=8, default=())
    keep: bool = False
    path: tuple[str, ...] = items(shortest=1, longest=1000)

    def problems(self) -> Iterator[tuple[str, str]]:
        if any(not 0 <= gpu <= HIGHEST_GPU for gpu in self.gpu) or len(set(self.gpu)) != len(self.gpu):
            yield "gpu", f"is {','.join(map(str, self.gpu))}, expected different numbers of 0..{HIGHEST_GPU}"
        if self.split and (len(self.split) != len(self.gpu) or not all(0 < each <= 100 for each in self.split)):
            yield "split", f"is {','.join(map(str, self.split))}, expected a number of 1..100 for each gpu"
        if self.batch < self.slots:
            yield "batch", f"is {self.batch}, expected a token for each of {self.slots} slots at least"

    @property
    def devices(self) -> tuple[int, ...]:
        """The GPUs that take the model; none for the CPU."""
        return () if self.backend is Backend.CPU else self.gpu or (0,)

    def threads_for(self, cores: int) -> int:
        """Return the threads of all slots together on a machine with ``cores``."""
        return self.threads or max(1, min(cores, 8 * self.slots))


def parse(argv: Sequence[str]) -> Options:
    """Return what the command line says; prints the help and exits when asked for it.

    Raises:
        InvalidRequest: with every wrong option.
    """
    try:
        given = docopt(__doc__, argv=list(argv))
    except DocoptExit:
        raise InvalidRequest("not a command line of llm-worker-rbee", hint="llm-worker-rbee --help") from None
    values: dict[str, Any] = {
        word.strip("-<>").replace("-", "_"): _number(value) if word in _NUMBERS else value
        for word, value in given.items()
        if value is not None and word not in _FLAGS
    }
    for several in ("gpu", "split"):
        if several in values:
            values[several] = [_number(each) for each in values[several].split(",")]
    if given["--quoted"]:
        values = {word: _unquoted(value) for word, value in values.items()}
    return codec.from_dict(Options, values)


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(word) for word in value]
    return unquote(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else value
