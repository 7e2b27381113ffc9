"""rbee-keeper jobs submit and events: a job followed to its end, and cancelled when its person leaves."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.streams import OutputLost, ended_by_reader
from rbee.cli.units import parse_float, parse_int
from rbee.errors import EX_INTERRUPTED, InvalidRequest, NotFound, RbeeError
from rbee.keeper.reach import reached
from rbee.orchestrator_core.ops import QueenOps
from rbee.wire import codec
from rbee.wire.events import Call, End, Failure, JobEvent, Queued, Score, Started, StopReason, Token, Vector, name_of
from rbee.wire.jobs import JobSpec, JobStatus
from rbee.wire.words import counted

CANCEL_S = 5.0


async def submit_job(args: Args, output: Output) -> int | None:
    spec = await _spec_of(args)
    if dry_run(args, output, f"submit a job for {spec.model}"):
        return None
    async with reached(args) as queen:
        return await _interruptible(queen, spec, output, detach=bool(args["--detach"]))


def _detached(job: JobStatus, output: Output) -> None:
    """Show the bare id, so that a script can keep it."""
    if output.as_json:
        output.facts(job, {})
    else:
        output.text(f"{job.id}\n")
        output.say(f"{job.state.value}; rbee-keeper jobs events {job.id}")


async def job_events(args: Args, output: Output) -> None:
    """Print each event on a line; as JSON one array when the job has ended."""
    after = parse_int(args["--after"], "--after") or 0
    seen: list[dict[str, Any]] = []
    async with reached(args) as queen:
        await queen.get_job(args["<job>"])
        async for number, event in queen.job_events(args["<job>"], after):
            row = {"id": number, "event": name_of(event), "data": codec.plain(event)}
            if output.as_json:
                seen.append(row)
            else:
                output.text(f"{number}\t{row['event']}\t{codec.dump_json(event)}\n")
    if output.as_json:
        output.table(seen, [], none="")


async def _spec_of(args: Args) -> JobSpec:
    prompt = await asyncio.to_thread(_prompt_of, args)
    wanted: dict[str, Any] = {
        "model": args["--model"],
        "max_tokens": parse_int(args["--max-tokens"], "--max-tokens"),
        "temperature": parse_float(args["--temperature"], "--temperature"),
        "top_p": parse_float(args["--top-p"], "--top-p"),
        "top_k": parse_int(args["--top-k"], "--top-k"),
        "min_p": parse_float(args["--min-p"], "--min-p"),
        "repeat_penalty": parse_float(args["--repeat-penalty"], "--repeat-penalty"),
        "seed": parse_int(args["--seed"], "--seed"),
        "stop": args["--stop"] or None,
        "ignore_eos": args["--ignore-eos"] or None,
        "priority": args["--priority"],
        "session": args["--session"],
        "id": args["--id"],
        "placement": {key: args[f"--{key}"] for key in ("pool", "backend") if args[f"--{key}"]} or None,
    }
    deadline_s = parse_float(args["--deadline"], "--deadline")
    wanted["deadline_ms"] = None if deadline_s is None else int(deadline_s * 1000)
    if args["--raw"]:
        wanted["prompt"] = prompt
    else:
        said = [("system", args["--system"]), ("user", prompt)]
        wanted["messages"] = [{"role": role, "content": text} for role, text in said if text is not None]
    return codec.from_dict(JobSpec, {key: value for key, value in wanted.items() if value is not None})


def _prompt_of(args: Args) -> str:
    """Return the prompt, read once from wherever it is; nobody is asked for one."""
    try:
        if args["--prompt-file"]:
            prompt = Path(args["--prompt-file"]).read_text(encoding="utf-8")
        elif args["--prompt"] is None or args["--prompt"] == "-":
            prompt = sys.stdin.buffer.read().decode("utf-8")
        else:
            prompt = str(args["--prompt"])
    except OSError as error:
        raise NotFound(f"--prompt-file {args['--prompt-file']}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the prompt is not UTF-8: byte {error.start}") from None
    if not prompt:
        raise InvalidRequest("prompt is empty", hint="--prompt TEXT, --prompt-file FILE, or - for standard input")
    return prompt


async def _follow(queen: QueenOps, job: JobStatus, output: Output) -> int | None:
    """Write the answer as it comes; as JSON the finished job with its text at the end."""
    pieces: list[str] = []
    others: list[Call | Vector | Score] = []
    async for event in _events(queen, job.id):
        match event:
            case Queued() if output.interactive and event.reason:
                output.say(f"queued, {event.position} before it: {event.reason}")
            case Started() if output.interactive:
                output.say(f"{event.worker}, {event.model}, seed {event.seed}")
            case Token():
                pieces.append(event.t)
                if not output.as_json:
                    output.text(event.t)
            case Call() | Vector() | Score():
                others.append(event)
                if not output.as_json:
                    output.text(f"{codec.dump_json(event)}\n")
            case Failure():
                if pieces and not output.as_json:
                    output.text("\n")
                    output.say(f"{counted(len(pieces), 'token')} came before it failed")
                raise event.to_error(source="queen")
            case End():
                await _finish(queen, job, event, "".join(pieces), others, output)
                return EX_INTERRUPTED if event.stop_reason is StopReason.CANCELLED else None
    return None


async def _events(queen: QueenOps, job: str) -> AsyncIterator[JobEvent]:
    async for _, event in queen.job_events(job):
        yield event


async def _finish(
    queen: QueenOps, job: JobStatus, end: End, text: str, others: Sequence[Call | Vector | Score], output: Output
) -> None:
    if output.as_json:
        parts = {"parts": codec.plain(others)} if others else {}
        output.facts({**codec.plain(await queen.get_job(job.id)), "text": text, **parts}, {})
        return
    output.text("\n")
    if end.stop_reason is StopReason.CANCELLED:
        output.say(f"{job.id} was cancelled after {end.tokens_out} tokens")
    elif output.interactive:
        rate = end.tokens_out / (end.decode_ms / 1000) if end.decode_ms else 0.0
        output.say(
            f"{end.tokens_out} tokens, {rate:.0f} a second, the first after {end.ttft_ms:.0f} ms; "
            f"ended by {end.stop_reason}"
        )


async def _interruptible(queen: QueenOps, spec: JobSpec, output: Output, *, detach: bool) -> int | None:
    """Submit and follow. Whoever ends us first cancels the job at the queen, also one she has yet to take.

    A terminal that is closed counts (SIGHUP), unless nohup(1) was told that it should not.
    """
    submitting = asyncio.ensure_future(queen.submit_job(spec))
    task = asyncio.ensure_future(_run(queen, submitting, output, detach=detach))
    loop = asyncio.get_running_loop()
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for number in (signal.SIGINT, signal.SIGTERM, *(() if under_nohup else (signal.SIGHUP,))):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        output.say(f"\n{await _withdraw(queen, submitting)}")
        return EX_INTERRUPTED
    except (BrokenPipeError, OutputLost):
        if not detach:
            await _withdraw(queen, submitting)
        raise


async def _run(queen: QueenOps, submitting: "asyncio.Future[JobStatus]", output: Output, *, detach: bool) -> int | None:
    job = await asyncio.shield(submitting)
    if detach:
        _detached(job, output)
        return None
    with ended_by_reader():
        return await _follow(queen, job, output)


async def _withdraw(queen: QueenOps, submitting: "asyncio.Future[JobStatus]") -> str:
    """Cancel the job and say so; what is on its way to the queen is waited for, since she may take it."""
    try:
        async with asyncio.timeout(CANCEL_S):
            job = await submitting
            await queen.cancel_job(job.id)
    except TimeoutError:
        return "the queen does not answer; should she have taken the job, rbee-keeper jobs list shows it"
    except RbeeError as error:
        return f"nothing runs for you: {error.message}" if submitting.exception() else f"not cancelled: {error.message}"
    return f"{job.id} cancelled"
