"""The store on a real PostgreSQL: what every database promises."""

from tests.unit.queen.store.promises import *  # noqa: F403
