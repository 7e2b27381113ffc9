"""The owner's say in decisions: a script that is asked once the built-in has made up its mind, and a record of both."""

import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rbee import log
from rbee.adapters.policy import PolicyScript
from rbee.errors import PolicyFailed
from rbee.orchestrator_core import moment, policy
from rbee.orchestrator_core.moment import Plain
from rbee.orchestrator_core.scheduling import Decision, Refuse, Wait
from rbee.orchestrator_core.view import View
from rbee.wire.jobs import JobSpec

FAULTS, REST_S = 3, 10.0
"""After so many costly faults within that time the script is left alone for as long."""

COSTLY_S = 0.01
"""The queen does nothing else while a script decides: a fault that took longer is costly."""

REPORT_AGAIN_S = 600.0
LONGEST_RECORD_BYTES = 256 << 20


class Policy:
    """
    Args:
        script: None: the built-in decides.
        record: where each decision is appended; None: nowhere.
    """

    def __init__(self, script: PolicyScript | None = None, record: Path | None = None) -> None:
        self.faults = 0
        self._script = script
        self._record = record
        self._failed_s = float("-inf")
        self._costly_s: deque[float] = deque([float("-inf")] * FAULTS, maxlen=FAULTS)
        self._rests_until_s = 0.0
        self._reported: dict[str, float] = {}
        self._trouble = ""
        self._last: dict[str, Any] = {}
        self._notes: dict[str, str] = {}

    def decide(
        self,
        spec: JobSpec,
        builtin: Decision,
        view: View,
        told: Callable[[], tuple[Plain, list[Plain]]],
        context_tokens: int = 0,
    ) -> Decision:
        """Return what the script wants, as far as that can be; else ``builtin``.

        Args:
            told: gives the job and the queue as a script sees them; asked only when somebody looks.
            context_tokens: how many the prompt has at least.
        """
        if self.silent or isinstance(builtin, Refuse):
            return builtin
        job, queue = told()
        context = moment.context(job, queue, view, policy.action_of(builtin), now_ms=int(time.time() * 1000))
        self._notes.pop(job["id"], None)
        decision = self._asked(spec, context, view, context_tokens)
        if isinstance(decision, Wait) and isinstance(builtin, Wait):
            # Whatever else there is to wait for stays; but it claims no memory that others could have meanwhile.
            decision = replace(builtin, reason=decision.reason, claim=None)
        elif decision is not None and policy.action_of(decision) != policy.action_of(builtin):
            self._notes[job["id"]] = (
                f"the policy decided so; the built-in: {policy.in_words(policy.action_of(builtin))}"
            )
        decision = decision or builtin
        self._note(job["id"], context, decision)
        return decision

    @property
    def silent(self) -> bool:
        """Whether it has no say, and keeps no record."""
        return self._script is None and self._record is None

    def note(self, job: str) -> str:
        """Return whose the last decision about ``job`` was, in a sentence; empty: the built-in's, as it should be."""
        return self._notes.get(job, "")

    def trouble(self) -> str:
        """Return what is wrong with the script now, for whoever looks at the queen."""
        return self._trouble

    def ended(self, job: str) -> None:
        """Forget what was last decided for ``job``."""
        self._last.pop(job, None)
        self._notes.pop(job, None)

    def close(self) -> None:
        """Let the script's process go."""
        if self._script is not None:
            self._script.close()

    def _asked(self, spec: JobSpec, context: Plain, view: View, context_tokens: int) -> Decision | None:
        script, job = self._script, str(context["job"]["id"])
        if script is None:
            return None
        if time.monotonic() < self._rests_until_s:
            self._notes[job] = f"the built-in decided: {self._trouble}"
            return None
        began_s = time.monotonic()
        try:
            decision = policy.decision_of(script.decide(context), spec, view, context_tokens)
        except PolicyFailed as error:
            self._failed(error, script, time.monotonic() - began_s)
            self._notes[job] = f"the built-in decided: {error.message}"
            return None
        finally:
            for line in script.said:
                log.event("policy.said", policy=script.path, text=line)
        if self._rests_until_s:
            log.event("policy.recovered", policy=script.path)
            self._rests_until_s = 0.0
        if time.monotonic() - self._failed_s > REST_S:
            self._trouble = ""
        return decision

    def _failed(self, error: PolicyFailed, script: PolicyScript, took_s: float) -> None:
        """Say so once for each thing that is wrong, and not for each decision."""
        now_s = time.monotonic()
        self.faults += 1
        self._failed_s, self._trouble = now_s, error.message
        if took_s > COSTLY_S:
            self._costly_s.append(now_s)
        rests = now_s - self._costly_s[0] < REST_S
        if rests:
            self._trouble = f"the policy rests for {REST_S:g} s, after {FAULTS} costly faults: {error.message}"
        said_s = self._reported.get(error.message, float("-inf"))
        if now_s - said_s > REPORT_AGAIN_S or (rests and not self._rests_until_s):
            self._reported = {what: at_s for what, at_s in self._reported.items() if now_s - at_s < REPORT_AGAIN_S}
            self._reported[error.message] = now_s
            rests_s = f"{REST_S:g}" if rests else None
            log.warning("policy.failed", policy=script.path, error=error.message, decides="built-in", rests_s=rests_s)
        if rests:
            self._rests_until_s = now_s + REST_S

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
