"""What is said of one scenario."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(kw_only=True, slots=True)
class Scenario:
    """One scenario, or one example of an outline.

    Args:
        id: pytest's name for it; pytest runs it alone when given that.
        feature: the feature file's name without ``.feature``.
        error: where it failed and why; empty unless it did.
    """

    id: str
    feature: str
    name: str
    tags: tuple[str, ...]
    file: Path
    title: str
    outcome: str = PASSED
    duration_s: float = 0.0
    error: str = ""
    evidence: list[str] = field(default_factory=list)

    def fail(self, error: str) -> None:
        """Let it have failed; the first error is the one that counts."""
        self.outcome = FAILED
        self.error = self.error or error

    def plain(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "id": self.id,
            "feature": self.feature,
            "name": self.name,
            "tags": list(self.tags),
            "outcome": self.outcome,
            "duration_s": round(self.duration_s, 3),
            "error": "\n".join([self.error, *self.evidence]) if self.error else None,
        }
