"""The entry of rbee-keeper, also installed as rbee. The usage below is the interface."""

import sys
from typing import NoReturn

from rbee.cli.run import Commands, Table
from rbee.cli.run import main as run

USAGE = """
rbee-keeper: jobs, pools and the orchestrator. Also installed as rbee.

Usage:
  rbee-keeper jobs submit --model=<ref> (--prompt=<text> | --prompt-file=<file> | -) [--system=<text>] [--raw]
                          [--max-tokens=<n>] [--temperature=<t>] [--top-p=<p>] [--top-k=<k>] [--min-p=<p>]
                          [--repeat-penalty=<r>] [--seed=<n>] [--stop=<text>]... [--ignore-eos] [--priority=<class>]
                          [--deadline=<s>] [--pool=<pool>] [--backend=<backend>] [--session=<id>] [--id=<id>] [--detach]
                          [options]
  rbee-keeper jobs list [--state=<state>] [--model=<ref>] [--limit=<n>] [--after=<id>] [options]
  rbee-keeper jobs status <job> [options]
  rbee-keeper jobs events <job> [--after=<id>] [options]
  rbee-keeper jobs cancel <job> [options]
  rbee-keeper jobs explain <job> [options]
  rbee-keeper workers explain [options]
  rbee-keeper pool list [options]
  rbee-keeper pool status (<pool> | --host=<host>...) [options]
  rbee-keeper pool state --host=<host>... [options]
  rbee-keeper pool register <pool> [--ssh=<target>] [--sudo] [--queen=<url>] [--url=<url>] [options]
  rbee-keeper pool remove <pool> [options]
  rbee-keeper pool start --host=<host>... [options]
  rbee-keeper pool stop --host=<host>... [options]
  rbee-keeper pool restart --host=<host>... [options]
  rbee-keeper pool logs --host=<host>... [--lines=<n>] [--follow] [options]
  rbee-keeper pool exec --host=<host>... [options] -- <command>...
  rbee-keeper pool verify --host=<host>... [options]
  rbee-keeper pool rollout --resume [--drain=<s>] [options]
  rbee-keeper pool rollout --host=<host>... [--drain=<s>] [options] -- <command>...
  rbee-keeper pool deploy --resume [--auto-rollback] [--drain=<s>] [options]
  rbee-keeper pool deploy --host=<host>... [--flake=<ref>] [--build-host=<h>] [--auto-rollback] [--drain=<s>]
                          [options]
  rbee-keeper pool drain (<pool> | --host=<host>...) [--deadline=<s>] [options]
  rbee-keeper pool undrain (<pool> | --host=<host>...) [options]
  rbee-keeper pool worker list [--host=<host>]... [options]
  rbee-keeper pool worker spawn <backend> --model=<ref> [--pool=<pool>] [--host=<host>]... [--id=<id>] [--gpu=<n>]
                                [--ctx=<tokens>] [--slots=<n>] [--kv=<type>] [--gpu-layers=<n>] [--memory=<size>]
                                [--cpu=<percent>] [--idle=<s>] [--lazy] [--pin] [--priority=<n>] [--spare]
                                [--keep | --forget] [options]
  rbee-keeper pool worker status <worker> --host=<host>... [options]
  rbee-keeper pool worker stop <worker> [--host=<host>]... [options]
  rbee-keeper pool worker drain <worker> --host=<host>... [options]
  rbee-keeper pool worker evict <worker> --host=<host>... [options]
  rbee-keeper pool worker logs <worker> --host=<host>... [--lines=<n>] [options]
  rbee-keeper pool models list --host=<host>... [options]
  rbee-keeper pool models catalog [--host=<host>]... [options]
  rbee-keeper pool models info <model> --host=<host>... [options]
  rbee-keeper pool models download <model> --host=<host>... [options]
  rbee-keeper pool models import <path> --host=<host>... [--id=<id>] [options]
  rbee-keeper pool models verify <model> --host=<host>... [options]
  rbee-keeper pool models delete <model> --host=<host>... [options]
  rbee-keeper pool models cache <model> --host=<host>... [options]
  rbee-keeper pool models uncache <model> --host=<host>... [options]
  rbee-keeper pool sync --host=<host>... [--prune] [options]
  rbee-keeper pool git status --host=<host>... [options]
  rbee-keeper pool git submodules --host=<host>... [options]
  rbee-keeper pool git pull --host=<host>... [options]
  rbee-keeper pool git sync --host=<host>... [options]
  rbee-keeper pool gpu status --host=<host>... [options]
  rbee-keeper orchestrator start [--host=<host>] [options]
  rbee-keeper orchestrator stop [--host=<host>] [options]
  rbee-keeper orchestrator restart [--host=<host>] [options]
  rbee-keeper orchestrator status [--host=<host>] [options]
  rbee-keeper orchestrator logs [--host=<host>] [--lines=<n>] [--follow] [options]
  rbee-keeper orchestrator listen <address> [options]
  rbee-keeper policy test <file> [--record=<file>] [options]
  rbee-keeper token new [--output=<file>] [options]

Options of jobs submit:
  --model=<ref>         Alias or reference; pool models catalog lists them.
  --prompt=<text>       What to ask; - reads it from standard input.
  --prompt-file=<file>  Read it from a file.
  --system=<text>       What the model is told first.
  --raw                 Send the prompt as it is, without the model's chat template.
  --max-tokens=<n>      Stop after so many tokens [otherwise 256].
  --temperature=<t>     0 is greedy [otherwise 0.8].
  --top-p=<p>           Draw from the likeliest tokens that have this much likelihood together [otherwise 0.95].
  --top-k=<k>           Draw from so many of the likeliest tokens; 0 is all [otherwise 40].
  --min-p=<p>           Draw from tokens at least this likely, as a part of the likeliest one's [otherwise 0.05].
  --repeat-penalty=<r>  Make tokens that came just now less likely; 1 is off [otherwise 1].
  --seed=<n>            The same seed gives the same text.
  --stop=<text>         End before this; may be given four times.
  --ignore-eos          Never let the model end by itself; for measurements of a known length.
  --priority=<class>    interactive or batch; of a worker -100..100, idle ones of lower priority are evicted first.
  --deadline=<s>        Fail when it is not done by then. Of pool drain: what still runs then goes on elsewhere.
  --session=<id>        What belongs together: one share of the queue, and the worker that knows it already.
  --pool=<pool>         Only at this pool. Of pool worker spawn: there.
  --backend=<backend>   Only on workers of this backend.
  --id=<id>             Your name for the job; submitting it again gives the same job. Of a worker or model: its name.
  --detach              Only say the job's id; jobs events shows the rest.

Options of pool worker spawn, beside --model, --pool and --id:
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
  --spare           It goes for good when it falls asleep and no job waits for its model.
  --keep            Its conversations outlive its sleep, on disk [otherwise worker.keep of rbee.toml].
  --forget          They do not, whatever rbee.toml says.

Options:
  --prune           Of pool sync: also stop workers that somebody else than the host's rbee.toml asked for.
  --resume          Go on with the rollout or deploy that stopped, at the host where it stopped.
  --flake=<ref>     Where the nixosConfigurations of the hosts are; of one host also <ref>#<name> [default: .].
  --build-host=<h>  Build there, as nixos-rebuild does it; otherwise here.
  --auto-rollback   When a switched host does not get through, have it as it was, and at work again.
  --drain=<s>       Give up when the jobs of a host have not ended after so long [default: 1800].
  --after=<id>      Go on after this event, or this job.
  --state=<state>   Only jobs in this state.
  --limit=<n>       So many jobs at most.
  --host=<host>     A host of [hosts.*] in rbee.toml, over ssh; may be repeated, all are all of them.
  --http            Ask the hosts' pool-managerd over HTTP instead, at [hosts.*] pool.
  --ssh=<target>    What ssh is given for that host; otherwise its name.
  --sudo            Commands there go through sudo -n.
  --queen=<url>     Where the queen listens, as seen from that host; otherwise found out.
  --url=<url>       Where the pool listens, as seen from the queen; otherwise found out. Without --ssh only the queen
                    is told.
  --output=<file>   Write the token there, mode 0600, and not to standard output.
  --record=<file>   Decisions that were recorded ([queen] record); otherwise samples.
  --lines=<n>       How many lines of the log [default: 100].
  --follow          Go on as more is logged.
  --format=<fmt>    text or json; of pool verify also junit [default: text].
  --no-color        No colours, also on a terminal.
  --config=<file>   Read this rbee.toml.
  --timeout=<s>     Give up on an answer after so long [default: 30].
  --dry-run         Say what would be done.
  --yes             Do not ask before something is destroyed.
  --debug           Show the traceback of a bug.
  -h, --help        Show this.
  --version         Show the version.

sync makes what runs on a host equal to what [models.*] and [workers.*] of its rbee.toml declare.

rollout does host by host: drain, run the command here with {host} filled in, wait for the host, verify it, ask its
model for one token, undrain. It stops at the first failure.

deploy is a rollout whose command is nixos-rebuild switch: each host becomes what the flake says it is. What takes long,
building and copying, is done before it is drained. Without nixos-rebuild here, nix and ssh do the same.

<address> is an IP address with a port, a port alone for every address, or loopback.

<worker> is a name, or <pool>:<name> where two pools have a worker of that name.

The text of a job goes to standard output as it comes; Ctrl-C cancels the job.

Exit codes: 0 done, 64 usage, 66 not found, 69 unreachable, 70 a bug, 73 cannot create, 75 try again later,
77 not permitted, 78 configuration, 130 interrupted.
"""


def commands() -> Commands:
    """Return the table. A module is imported when one of its commands is run."""
    return Table(
        "rbee.keeper",
        {
            ("jobs", "submit"): "submitting.submit_job",
            ("jobs", "list"): "jobs.list_jobs",
            ("jobs", "status"): "jobs.get_job",
            ("jobs", "events"): "submitting.job_events",
            ("jobs", "cancel"): "jobs.cancel_job",
            ("jobs", "explain"): "explaining.explain_job",
            ("workers", "explain"): "explaining.explain_workers",
            ("pool", "list"): "known.list_pools",
            ("pool", "status"): "known.get_pool",
            ("pool", "state"): "pool.get_state",
            ("pool", "register"): "registering.register_pool",
            ("pool", "remove"): "registering.remove_pool",
            ("pool", "start"): "units.start",
            ("pool", "stop"): "units.stop",
            ("pool", "restart"): "units.restart",
            ("pool", "logs"): "units.logs",
            ("pool", "exec"): "units.run_command",
            ("pool", "verify"): "verifying.verify",
            ("pool", "rollout"): "rollout.rollout",
            ("pool", "deploy"): "deploy.deploy",
            ("pool", "drain"): "pool.drain_pool",
            ("pool", "undrain"): "pool.undrain_pool",
            ("pool", "worker", "list"): "worker.list_workers",
            ("pool", "worker", "spawn"): "worker.spawn_worker",
            ("pool", "worker", "status"): "worker.get_worker",
            ("pool", "worker", "stop"): "worker.stop_worker",
            ("pool", "worker", "drain"): "worker.drain_worker",
            ("pool", "worker", "evict"): "worker.evict_worker",
            ("pool", "worker", "logs"): "worker.worker_logs",
            ("pool", "models", "list"): "models.list_models",
            ("pool", "models", "catalog"): "models.list_catalog",
            ("pool", "models", "info"): "models.get_model",
            ("pool", "models", "download"): "models.download_model",
            ("pool", "models", "import"): "models.import_model",
            ("pool", "models", "verify"): "models.verify_model",
            ("pool", "models", "delete"): "models.delete_model",
            ("pool", "models", "cache"): "models.cache_model",
            ("pool", "models", "uncache"): "models.uncache_model",
            ("pool", "sync"): "syncing.sync",
            ("pool", "git", "status"): "git.git_status",
            ("pool", "git", "submodules"): "git.git_submodules",
            ("pool", "git", "pull"): "git.git_pull",
            ("pool", "git", "sync"): "git.git_sync",
            ("pool", "gpu", "status"): "pool.list_gpus",
            ("orchestrator", "start"): "orchestrator.start",
            ("orchestrator", "stop"): "orchestrator.stop",
            ("orchestrator", "restart"): "orchestrator.restart",
            ("orchestrator", "status"): "orchestrator.status",
            ("orchestrator", "logs"): "orchestrator.logs",
            ("orchestrator", "listen"): "orchestrator.listen",
            ("policy", "test"): "policy.test",
            ("token", "new"): "token.new",
        },
    )


def main() -> NoReturn:
    """Run rbee-keeper."""
    sys.exit(run("rbee-keeper", USAGE, commands))
