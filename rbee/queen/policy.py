"""The owner's say in decisions: a script that is asked once the built-in has made up its mind, and a record of both."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rbee import log
from rbee.adapters.policy import PolicyScript
from rbee.errors import PolicyFailed
from rbee.orchestrator_core import policy
from rbee.orchestrator_core.policy import Plain
from rbee.orchestrator_core.scheduling import Decision, Refuse
from rbee.orchestrator_core.view import View
from rbee.wire.jobs import JobSpec

FAULTS, REST_S = 3, 10.0
"""After so many faults in a row the script is left alone for a while: each one may have cost 50 ms."""

LONGEST_RECORD_BYTES = 256 << 20


class Policy:
    """
    Args:
        script: None: the built-in decides.
        record: where each decision is appended; None: nowhere.
    """

    def __init__(self, script: PolicyScript | None = None, record: Path | None = None) -> None:
        self._script = script
        self._record = record
        self._faults = 0
        self._rests_until_s = 0.0
        self._last: dict[str, Any] = {}

    def decide(
        self, spec: JobSpec, builtin: Decision, view: View, told: Callable[[], tuple[Plain, list[Plain]]]
    ) -> Decision:
        """Return what the script wants, as far as that can be; else ``builtin``.

        Args:
            told: gives the job and the queue as a script sees them; asked only when somebody looks.
        """
        if (self._script is None and self._record is None) or isinstance(builtin, Refuse):
            return builtin
        job, queue = told()
        context = policy.context(job, queue, view, builtin, now_ms=int(time.time() * 1000))
        decision = self._asked(spec, context, view) or builtin
        self._note(job["id"], context, decision)
        return decision

    def ended(self, job: str) -> None:
        """Forget what was last decided for ``job``."""
        self._last.pop(job, None)

    def _asked(self, spec: JobSpec, context: Plain, view: View) -> Decision | None:
        script = self._script
        if script is None or time.monotonic() < self._rests_until_s:
            return None
        try:
            decision = policy.decision_of(script.decide(context), spec, view)
        except PolicyFailed as error:
            self._failed(error, script)
            return None
        finally:
            for line in script.said:
                log.event("policy.said", policy=script.path, text=line)
        if self._faults:
            log.event("policy.recovered", policy=script.path)
        self._faults = 0
        return decision

    def _failed(self, error: PolicyFailed, script: PolicyScript) -> None:
        self._faults += 1
        if self._faults >= FAULTS:
            self._rests_until_s = time.monotonic() + REST_S
        if self._faults in (1, FAULTS):
            rests = f"{REST_S:g}" if self._faults == FAULTS else None
            log.warning("policy.failed", policy=script.path, error=error.message, decides="built-in", rests_s=rests)

    def _note(self, job: str, context: Plain, decision: Decision) -> None:
        """Append what was decided, once for each change of mind. A record that cannot be written ends here."""
        action = policy.action_of(decision)
        if self._record is None or self._last.get(job) == action:
            return
        self._last[job] = action
        line = json.dumps({"at_ms": context["now_ms"], "context": context, "decision": action}) + "\n"
        try:
            descriptor = os.open(self._record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size + len(line) > LONGEST_RECORD_BYTES:
                    raise OSError(f"it has {LONGEST_RECORD_BYTES} bytes already")
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("record.ended", path=self._record, error=error.strerror or str(error))
            self._record = None
