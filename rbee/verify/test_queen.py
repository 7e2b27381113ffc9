"""Whether pool and queen hear each other."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rbee.adapters.addresses import only_here
from rbee.errors import RbeeError
from rbee.verify.facts import POOL, QUEEN, Facts
from rbee.verify.options import POOL_QUEEN, POOL_TOKEN
from rbee.verify.options import QUEEN as QUEEN_OPTION
from rbee.verify.unmet import does_not_apply, require
from rbee.verify.wanted import Wanted

if TYPE_CHECKING:
    from rbee.wire.pools import PoolStatus


def test_host_reaches_queen(facts: Facts) -> None:
    """The queen of [pool] queen answers the host"""
    queen = facts["queen"]
    local = only_here(urlsplit(queen["url"]).hostname or "")
    if local and facts.has_queen:
        facts.needs_socket(QUEEN)
    mend = (
        f"{facts.systemctl} restart rbee-queen.socket rbee-queen.service" if local else "rbee-keeper orchestrator start"
    )
    found = f"{queen['error']} at {queen['url']}" if queen["error"] else "answers"
    require(found, "answers", mend=mend, nixos=QUEEN_OPTION if local else POOL_QUEEN)


def test_queen_takes_the_hosts_token(facts: Facts) -> None:
    """The queen takes the token of the host"""
    _reached(facts)
    facts.root_only()
    refused = facts["queen"]["refusal"]
    mend = f"rbee-keeper pool register {facts['settings']['pool']}"
    require(refused or "takes it", "takes it", mend=mend, nixos=POOL_TOKEN)


def test_queen_has_the_pool_ready(facts: Facts) -> None:
    """The queen lists this pool as ready; asked from the host"""
    _reached(facts)
    facts.root_only()
    facts.needs_socket(POOL)
    pools = facts["queen"]["answer"]
    if pools is None:
        does_not_apply("the queen does not say: see queen.queen_takes_the_hosts_token")
    name = facts["settings"]["pool"]
    state = next((pool["state"] for pool in pools if pool["id"] == name), "not listed")
    require(state, "ready", mend=_mend(facts, state), nixos=POOL_QUEEN)


def test_queen_lists_the_pool_here(facts: Facts, wanted: Wanted) -> None:
    """The queen lists this pool as ready; asked from this machine, with --queen"""
    if not wanted.queen:
        does_not_apply("no --queen was given to ask from here")
    facts.needs_socket(POOL)
    if facts["queen"]["error"] or (facts["root"] and facts["queen"]["refusal"]):
        does_not_apply("the pool cannot speak to its queen: see the other checks of this group")
    name = facts["settings"].get("pool")
    if any(pool["id"] == name and pool["state"] != "ready" for pool in facts["queen"]["answer"] or ()):
        does_not_apply("the host has heard the same: see queen.queen_has_the_pool_ready")
    try:
        found = asyncio.run(_listed(wanted))
        state = next((pool.state.value for pool in found if pool.id == name), "not listed")
    except RbeeError as error:
        state = error.message
    require(state, "ready", mend=_mend(facts, state), nixos=POOL_QUEEN)


async def _listed(wanted: Wanted) -> "tuple[PoolStatus, ...]":
    from rbee.client.http import HttpClient  # noqa: PLC0415  (a third of the time of a run that does not ask)
    from rbee.client.queen import QueenClient  # noqa: PLC0415
    from rbee.client.reigning import Reigning  # noqa: PLC0415

    def connect(url: str) -> HttpClient:
        return HttpClient(url, token=wanted.token(), source="queen", timeout_s=5.0, ca_file=wanted.tls_ca)

    async with Reigning(wanted.queen, connect) as http:
        return await QueenClient(http).list_pools()


def _mend(facts: Facts, state: str) -> str:
    if state == "draining":  # whether the host or the queen has it so
        return f"rbee-keeper pool undrain {facts['settings']['pool']}"
    if state == "not listed":
        return f"rbee-keeper pool register {facts['settings']['pool']}"
    return f"{facts.systemctl} restart rbee-pool.service"


def _reached(facts: Facts) -> None:
    if facts["queen"]["error"]:
        pytest.skip("the queen does not answer: see queen.host_reaches_queen")
