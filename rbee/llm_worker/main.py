"""Entry point of llm-worker-rbee. Imports late: a post-mortem must not pay for a server."""

import os
import sys

from rbee import __version__, log


def main() -> int:
    argv = sys.argv[1:]
    if argv == ["--version"]:
        sys.stdout.write(f"llm-worker-rbee {__version__}\n")
        return 0
    if "--post-mortem" in argv:
        from rbee.llm_worker import post_mortem  # noqa: PLC0415

        return post_mortem.main(argv, os.environ)
    if "--hold" in argv:
        from rbee.llm_worker import holding  # noqa: PLC0415

        return holding.main(argv, os.environ)
    return _serve(argv)


def _serve(argv: list[str]) -> int:
    from rbee.errors import RbeeError  # noqa: PLC0415
    from rbee.llm_worker.argv import parse  # noqa: PLC0415

    log.setup("llm-worker-rbee")
    try:
        options = parse(argv)
        log.setup("llm-worker-rbee", worker=options.id, model=options.model)
        from rbee.llm_worker.worker import run  # noqa: PLC0415

        return run(options, os.environ)
    except RbeeError as error:
        log.error("worker.refused", code=error.code, reason=error.message, hint=error.hint)
        return error.exit_code
