"""Who owns which pool id, and where it is; kept so that a queen that starts knows whom to ask."""

from dataclasses import dataclass

from rbee.queen.store.models import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    id: str
    instance: str
    url: str
    version: str
    draining: bool = False


def save(record: PoolRecord) -> None:
    Pool.insert(
        id=record.id, instance=record.instance, url=record.url, version=record.version, draining=record.draining
    ).on_conflict_replace().execute()


def remove(pool: str) -> None:
    Pool.delete().where(Pool.id == pool).execute()


def known() -> tuple[PoolRecord, ...]:
    return tuple(
        PoolRecord(id=row.id, instance=row.instance, url=row.url, version=row.version, draining=row.draining)
        for row in Pool.select().order_by(Pool.id)
    )
