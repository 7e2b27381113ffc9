"""The entry of rbee-hive. The usage below is the interface; what is named there stands in ``commands``."""

import sys
from typing import NoReturn

from rbee.cli.run import Commands, Table
from rbee.cli.run import main as run

USAGE = """
rbee-hive: this host's workers, models and GPUs.

Usage:
  rbee-hive status [options]
  rbee-hive worker spawn <backend> --model=<ref> [--id=<id>] [--gpu=<n>] [--ctx=<tokens>] [--slots=<n>]
                         [--kv=<type>] [--gpu-layers=<n>] [--memory=<size>] [--cpu=<percent>] [--idle=<s>] [--lazy]
                         [--pin] [--priority=<n>] [--spare] [--keep | --forget] [--events] [options]
  rbee-hive worker list [options]
  rbee-hive worker status <worker> [options]
  rbee-hive worker stop <worker> [options]
  rbee-hive worker drain <worker> [options]
  rbee-hive worker evict <worker> [options]
  rbee-hive worker logs <worker> [--lines=<n>] [--follow] [options]
  rbee-hive models list [options]
  rbee-hive models catalog [options]
  rbee-hive models info <model> [options]
  rbee-hive models download <model> [--events] [options]
  rbee-hive models import <path> [--id=<id>] [options]
  rbee-hive models verify <model> [options]
  rbee-hive models delete <model> [options]
  rbee-hive models cache <model> [options]
  rbee-hive models uncache <model> [options]
  rbee-hive gpu status [options]
  rbee-hive sync [--prune] [--events] [options]
  rbee-hive git status [options]
  rbee-hive git submodules [options]
  rbee-hive git pull [options]
  rbee-hive git sync [options]
  rbee-hive drain [--deadline=<s>] [options]
  rbee-hive undrain [options]
  rbee-hive join --queen=<url> --url=<url> [--listen=<addr>] [options]
  rbee-hive leave [options]
  rbee-hive daemon start [options]
  rbee-hive daemon stop [options]
  rbee-hive daemon restart [options]
  rbee-hive daemon status [options]
  rbee-hive daemon logs [--lines=<n>] [--follow] [options]

<backend> is cpu, cuda, rocm, vulkan or metal. Nothing falls back to another one.

Options of worker spawn:
  --model=<ref>     Alias or reference of a model on this host (models list); with adapters, base+adapter.
  --id=<id>         Its name; otherwise worker-<backend>-<n>.
  --gpu=<n>         Which GPU; otherwise one with room.
  --ctx=<tokens>    Context of each slot [otherwise worker.ctx of rbee.toml, or what the model was trained on].
  --slots=<n>       Requests at once.
  --kv=<type>       Keep keys and values as f16, or as q8_0 in little more than half [otherwise worker.kv of rbee.toml].
  --gpu-layers=<n>  So many layers on the GPU, the rest on the host; otherwise all.
  --memory=<size>   Its memory limit, like 600M or 2G; otherwise what it is predicted to take, and some more.
  --cpu=<percent>   At most this much CPU; 100 is one core.
  --idle=<s>        Exit after so long without a request; the next one wakes it.
  --lazy            Only bind the socket; the first request starts it.
  --pin             Never evict it for another model.
  --priority=<n>    When memory is wanted, idle workers of lower priority go first: -100..100 [otherwise 0].
  --spare           It goes for good when it falls asleep and no job waits for its model.
  --keep            Its conversations outlive its sleep, on disk [otherwise worker.keep of rbee.toml].
  --forget          They do not, whatever rbee.toml says.

Options:
  --prune           Also stop workers that somebody else than rbee.toml asked for.
  --direct          Do it here, through systemd, without asking pool-managerd.
  --http            Ask pool-managerd; otherwise it is asked when it listens.
  --queen=<url>     Where the queen listens, as seen from here.
  --url=<url>       Where this pool is to listen, as seen from the queen.
  --listen=<addr>   Listen there instead, IP:port; a port alone is every address.
  --deadline=<s>    What still runs then goes on at other pools, where it can.
  --events          Show each step as a line of JSON as it happens, the result as the last.
  --lines=<n>       How many lines of the log [default: 100].
  --follow          Go on as more is logged.
  --format=<fmt>    text or json [default: text].
  --no-color        No colours, also on a terminal.
  --config=<file>   Read this rbee.toml.
  --timeout=<s>     Give up on the daemon's answer after so long [default: 30].
  --dry-run         Say what would be done.
  --yes             Do not ask before something is destroyed.
  --debug           Show the traceback of a bug.
  -h, --help        Show this.
  --version         Show the version.

sync makes what runs equal to what [models.*] and [workers.*] of rbee.toml declare, and lets answers finish.
pool-managerd does so by itself when it starts and on reload.

join makes this host a pool of a queen elsewhere; it reads the fleet's token from standard input, and is what
rbee-keeper pool register runs here over ssh.

Exit codes: 0 done, 64 usage, 66 not found, 69 unreachable, 70 a bug, 73 cannot create, 75 try again later,
77 not permitted, 78 configuration, 130 interrupted.
"""


def commands() -> Commands:
    """Return the table. A module is imported when one of its commands is run."""
    return Table(
        "rbee.hive",
        {
            ("status",): "pool.get_state",
            ("drain",): "pool.drain_pool",
            ("undrain",): "pool.undrain_pool",
            ("worker", "spawn"): "worker.spawn_worker",
            ("worker", "list"): "worker.list_workers",
            ("worker", "status"): "worker.get_worker",
            ("worker", "stop"): "worker.stop_worker",
            ("worker", "drain"): "worker.drain_worker",
            ("worker", "evict"): "worker.evict_worker",
            ("worker", "logs"): "worker.worker_logs",
            ("models", "list"): "models.list_models",
            ("models", "catalog"): "models.list_catalog",
            ("models", "info"): "models.get_model",
            ("models", "download"): "models.download_model",
            ("models", "import"): "models.import_model",
            ("models", "verify"): "models.verify_model",
            ("models", "delete"): "models.delete_model",
            ("models", "cache"): "models.cache_model",
            ("models", "uncache"): "models.uncache_model",
            ("gpu", "status"): "gpu.list_gpus",
            ("sync",): "syncing.sync",
            ("git", "status"): "git.git_status",
            ("git", "submodules"): "git.git_submodules",
            ("git", "pull"): "git.git_pull",
            ("git", "sync"): "git.git_sync",
            ("join",): "joining.join",
            ("leave",): "joining.leave",
            ("daemon", "start"): "daemon.start",
            ("daemon", "stop"): "daemon.stop",
            ("daemon", "restart"): "daemon.restart",
            ("daemon", "status"): "daemon.status",
            ("daemon", "logs"): "daemon.logs",
        },
    )


def main() -> NoReturn:
    """Run rbee-hive."""
    sys.exit(run("rbee-hive", USAGE, commands))
