"""rbee-keeper pool verify: the shipped testinfra suite, a process of its own for each host."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

from rbee.adapters import process
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import ConfigInvalid, PoolUnreachable, RbeeError, Timeout
from rbee.keeper.fleet import Outcome, finished, gathered
from rbee.keeper.hosts import Host, chosen
from rbee.keeper.settings import settings_of
from rbee.wire import codec, junit

VERIFY_S = 3600.0  # every byte of every model is hashed, by its host
NEEDED = ("pytest", "testinfra")
WANTED = "pytest pytest-testinfra"  # as pip names them
Report = dict[str, Any]


async def verify(args: Args, output: Output) -> int:
    """Check each host; exit 1 when a check failed, or as the first host that could not be checked."""
    hosts = chosen(args)
    as_junit = args["--format"] == "junit"

    def tell(outcome: Outcome[Report]) -> None:
        if outcome.error is not None and not output.as_json:
            output.failure(f"rbee-keeper {outcome.host.name}", outcome.error)
        elif outcome.result is not None and not output.as_json and not as_junit:
            _show(outcome.result, output)

    outcomes = await gathered(hosts, lambda host: report_of(host, args), tell)
    if as_junit:
        output.text(junit.document([_suite(outcome) for outcome in outcomes]))
    code = 0 if as_junit else finished(outcomes, output)
    code = next((outcome.error.exit_code for outcome in outcomes if outcome.error is not None), code)
    return code or int(any(not (outcome.result or {}).get("ok") for outcome in outcomes))


async def report_of(host: Host, args: Args, *, unhashed: bool = False) -> Report:
    """Return what the suite found on ``host``: ``ok`` and its ``checks``.

    Args:
        unhashed: leave the models' files alone, which can take their host an hour.

    Raises:
        ConfigInvalid: the suite's own requirements are not installed here.
        PoolUnreachable, …: the host cannot be reached; as ssh says.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigInvalid(
            f"pool verify needs {' and '.join(missing)} here", hint=f"{sys.executable} -m pip install {WANTED}"
        )
    await host.remote.run(["true"])
    argv = [*_argv(host, args), *(["--unhashed"] if unhashed else [])]
    try:
        environ = {**os.environ, **process.our_modules()}
        done = await process.run(argv, timeout_s=VERIFY_S, check=False, env=environ)
    except Timeout as error:
        error.message = f"{host.name} was not verified within {VERIFY_S:g} s"
        error.hint = f"ssh {host.remote.target} top, to see what holds it up"
        raise
    try:
        report = codec.parse_json(done.stdout.encode())
    except RbeeError:
        last = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise PoolUnreachable(
            f"{host.name} could not be verified: {last}", hint=f"rbee-keeper pool exec --host {host.name} -- true"
        ) from None
    return dict(report)


def _argv(host: Host, args: Args) -> list[str]:
    keeper = settings_of(args).keeper
    config = ["--ssh-config", str(host.remote.ssh_config)] if host.remote.ssh_config else []
    options = ["--token-file", keeper.token_file] if keeper.token_file else []
    options += ["--tls-ca", keeper.tls_ca] if keeper.tls_ca else []
    options += ["--sudo"] if host.remote.sudo else []
    return [
        sys.executable, "-m", "rbee.verify", "--host", host.name, "--ssh", host.remote.target, *config,
        "--queen", keeper.queen, *options, "--format", "json",
    ]  # fmt: skip


def failures(report: Report) -> Sequence[dict[str, Any]]:
    """Return the checks that failed."""
    return [check for check in report["checks"] if check["outcome"] == "failed"]


def _show(report: Report, output: Output) -> None:
    with output.above():
        said = f"{report['passed']} passed, {report['failed']} failed, {report['skipped']} do not apply"
        output.text(f"{report['id']}  {said}, in {report['duration_s']:.1f} s\n")
        for check in failures(report):
            output.text(f"  {check['id']}: {check['title']}\n")
            for label, key in (("expected", "expected"), ("found", "found"), ("mend", "mend"), ("NixOS", "nixos")):
                if check.get(key):
                    output.text(f"    {label.ljust(8)}  {check[key]}\n")


def _suite(outcome: Outcome[Report]) -> junit.Suite:
    """Return a host's suite; one that could not be checked is an error in it, and no host that is missing."""
    if (report := outcome.result) is None:
        return junit.Suite(name=outcome.host.name, time_s=0.0, cases=[_unreached(outcome)])
    cases = [_case(report["id"], check) for check in report["checks"]]
    return junit.Suite(name=report["id"], time_s=report["duration_s"], cases=cases)


def _unreached(outcome: Outcome[Report]) -> junit.Case:
    error = outcome.error
    said = "\n".join([error.message, *([f"hint: {error.hint}"] if error.hint else [])]) if error else ""
    return junit.Case(classname=f"{outcome.host.name}.system", name="system.host_is_reached", error=said)


def _case(host: str, check: dict[str, Any]) -> junit.Case:
    failed = check["outcome"] == "failed"
    mend = f"mend: {check['mend']}" + (f"\nNixOS: {check['nixos']}" if check["nixos"] else "")
    return junit.Case(
        classname=f"{host}.{check['group']}",
        name=check["id"],
        failure=mend if failed else "",
        message=f"expected {check['expected']}, found {check['found']}",
        skipped=check["reason"] if check["outcome"] == "skipped" else None,
    )
