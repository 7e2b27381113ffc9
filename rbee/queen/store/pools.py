"""Who owns which pool id, and where it is; kept so that a queen that starts knows whom to ask."""

from rbee.orchestrator_core.registry import Claim
from rbee.queen.store.models import Pool


def save(claim: Claim) -> None:
    facts = {"instance": claim.instance, "url": claim.url, "version": claim.version, "draining": claim.draining}
    Pool.insert(id=claim.id, **facts).on_conflict(conflict_target=[Pool.id], update=facts).execute()


def remove(pool: str) -> None:
    Pool.delete().where(Pool.id == pool).execute()


def known() -> tuple[Claim, ...]:
    return tuple(
        Claim(id=row.id, instance=row.instance, url=row.url, version=row.version, draining=row.draining)
        for row in Pool.select().order_by(Pool.id)
    )
