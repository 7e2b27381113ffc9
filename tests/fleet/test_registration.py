"""From three installed hosts to one fleet: the queen on the network, pools registered over ssh, and undone again."""

import json

import pytest

from tests.fleet.house import CONFIG, House
from tests.rig.waiting import PATIENCE, wait_for

LAN_QUEEN = "http://10.77.0.1:8080"


def pools(house: House) -> dict[str, str]:
    return {pool["id"]: pool["state"] for pool in house.rbee_json("pool", "list")}


def settled(house: House) -> dict[str, str]:
    """Return the others' states once none is lost, which on a busy machine one may be for a moment.

    blep's own pool, which is there without being asked for, is no matter.
    """

    def found() -> dict[str, str]:
        now = {name: state for name, state in pools(house).items() if name != "blep"}
        return {} if "lost" in now.values() else now

    return wait_for(found, "no pool to be lost", 20)


def test_it_works(house: House) -> None:
    house.blep.write(CONFIG, "# my own words\n[keeper]\n# the queen is here\n")

    # Out of the box the queen listens on loopback: that is found out there, before anything is changed.
    refused = house.rbee("pool", "register", "mac", check=False)
    assert refused.returncode == 69
    assert "from mac, queen at http://" in refused.stderr
    assert "hint: rbee-keeper orchestrator listen 8080" in refused.stderr
    assert not (house.hosts["mac"].root / "etc/rbee/joined").exists()
    assert "hosts" not in house.blep.read(CONFIG)

    assert "listens at [::]:8080" in house.rbee("orchestrator", "listen", "8080").stdout
    assert house.rbee("jobs", "list").returncode == 0

    for name in ("workstation", "mac"):
        shown = house.rbee("pool", "register", name)
        assert f"pool      {name}" in shown.stdout
        assert "state     ready" in shown.stdout
    assert settled(house) == {"workstation": "ready", "mac": "ready"}

    # The person's own words are still there, and the hosts are known.
    text = house.blep.read(CONFIG)
    assert "# my own words" in text
    assert "# the queen is here" in text
    assert "[hosts.mac]" in text

    # The token is the fleet's, a file for root alone, and was never on a command line or in a log.
    token = house.blep.read("/etc/rbee/token")
    mac = house.hosts["mac"]
    assert mac.read("/etc/rbee/token") == token
    assert mac.run(["stat", "-c", "%a %U", "/etc/rbee/token"]).stdout.strip() == "600 root"
    assert token.strip() not in mac.journal("--all", "--output=json")
    assert token.strip() not in house.blep.journal("--all", "--output=json")

    # It serves the network, and whoever has no token gets nothing.
    assert mac.run(["systemctl", "show", "--value", "-p", "Listen", "rbee-pool.socket"]).stdout.startswith("10.77.0.")
    assert (
        house.blep.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://mac:9200/v2/state"]).stdout
        == "401"
    )


def test_doing_it_again_changes_nothing(house: House) -> None:
    before = house.blep.read(CONFIG), house.hosts["mac"].read(CONFIG)
    house.rbee("pool", "register", "mac")
    assert (house.blep.read(CONFIG), house.hosts["mac"].read(CONFIG)) == before
    assert settled(house)["mac"] == "ready"


def test_a_job_runs_on_a_registered_pool(house: House) -> None:
    answer = house.rbee_json(
        "jobs", "submit", "--model", "tiny", "--prompt", "hello", "--pool", "mac", "--max-tokens", "4"
    )
    assert (answer["state"], answer["pool"]) == ("completed", "mac")
    assert house.lab("mac").units("rbee-worker-*.service")


def test_pools_answer_over_http_too(house: House) -> None:
    [row] = house.rbee_json("pool", "state", "--host", "mac", "--http")
    [same] = house.rbee_json("pool", "state", "--host", "mac")
    assert row["result"]["id"] == same["result"]["id"] == "mac"
    assert row["result"]["workers"][0]["id"] == same["result"]["workers"][0]["id"]


def test_the_state_of_it_all_is_one_screen(house: House) -> None:
    def screen() -> str:
        said = house.rbee("orchestrator", "status").stdout
        return "" if "mac  lost" in said or "workstation  lost" in said else said

    shown = wait_for(screen, "no pool to be lost", 20)
    for word in ("active (running)", "since", "version", "0 running, 0 queued", "mac  ready", "workstation  ready"):
        assert word in shown
    document = house.rbee_json("orchestrator", "status")
    assert document["state"] == "active"
    assert {pool["id"] for pool in document["pools"]} >= {"mac", "workstation"}


def test_a_host_whose_own_name_means_loopback_is_registered_at_its_address(house: House) -> None:
    """As Debian's installer leaves it; the person sits at that very host."""
    blep = house.blep
    known = blep.read("/etc/hosts")
    blep.write("/etc/hosts", f"127.0.1.1 blep\n{known}")
    try:
        house.rbee("pool", "register", "blep")
        wait_for(lambda: pools(house)["blep"] != "lost", "blep's pool to be heard", 20)
        [pool] = [pool for pool in house.rbee_json("pool", "list") if pool["id"] == "blep"]
        assert (pool["state"], pool["url"]) == ("ready", f"http://{blep.ip}:9200")
        assert blep.read(CONFIG).count(f'queen = "http://{blep.ip}:8080"') == 1
    finally:
        house.rbee("pool", "remove", "blep", "--yes", check=False)
        blep.write("/etc/hosts", known)
        blep.run(["systemctl", "start", "rbee-pool.socket"])


def test_removing_brings_back_what_registering_replaced(house: House) -> None:
    mac = house.hosts["mac"]
    house.rbee("pool", "remove", "mac", "--yes")
    own, token = '[pool]\nqueen = "http://10.77.0.99:8080"  # my old one\n', f"{'a1' * 32}\n"
    settings = mac.read(CONFIG)
    mac.write(CONFIG, own)
    mac.write("/etc/rbee/token", token, mode=0o600)
    mac.run(["systemctl", "restart", "rbee-pool.socket", "rbee-pool.service"])
    for _ in range(2):
        house.rbee("pool", "register", "mac")
    assert mac.read("/etc/rbee/token") != token
    house.rbee("pool", "remove", "mac", "--yes")
    assert (mac.read("/etc/rbee/token"), "10.77.0.99" in mac.read(CONFIG), "url" in mac.read(CONFIG)) == (
        token,
        True,
        False,
    )
    assert not list((mac.root / "etc/rbee").glob("*.before"))
    mac.write(CONFIG, settings)
    house.rbee("pool", "register", "mac")


def test_a_second_name_for_a_host_is_refused(house: House) -> None:
    before = house.blep.read(CONFIG), settled(house)
    done = house.rbee("pool", "register", "box2", "--ssh", "mac", check=False)
    assert (done.returncode, "which is [hosts.mac] already" in done.stderr) == (73, True)
    assert (house.blep.read(CONFIG), settled(house)) == before


def test_what_removing_undoes(house: House) -> None:
    refused = house.rbee("pool", "remove", "mac", check=False)
    assert (refused.returncode, "--yes" in refused.stderr) == (64, True)
    assert house.rbee("pool", "remove", "mac", "--yes").stdout == "mac removed\n"
    assert "mac" not in pools(house)
    assert "[hosts.mac]" not in house.blep.read(CONFIG)
    assert "# my own words" in house.blep.read(CONFIG)
    mac = house.hosts["mac"]
    assert not (mac.root / "etc/rbee/joined").exists()
    assert "10.77" not in mac.read(CONFIG)
    assert not (mac.root / "etc/systemd/system/rbee-pool.socket.d").exists()
    assert mac.unit_property("rbee-pool.socket", "ActiveState") == "inactive"
    # and back again
    house.rbee("pool", "register", "mac")
    wait_for(lambda: pools(house).get("mac") == "ready", "mac to be back", 20)


def test_two_registrations_at_once_leave_one_pool_that_answers(house: House) -> None:
    house.rbee("pool", "remove", "mac", "--yes", check=False)
    with house.begin("pool", "register", "mac") as one, house.begin("pool", "register", "mac") as other:
        codes = sorted([one.wait(60 * PATIENCE), other.wait(60 * PATIENCE)])
    assert codes in ([0, 0], [0, 73])
    url = next(row["url"] for row in house.rbee_json("pool", "list") if row["id"] == "mac")
    assert house.blep.run(["curl", "-sf", f"{url}/health"]).returncode == 0


def test_a_host_that_is_away_is_removed_all_the_same(house: House) -> None:
    house.hosts["mac"].cut_link()
    try:
        done = house.rbee("pool", "remove", "mac", "--yes", check=False)
        assert done.returncode in (69, 75)
        assert "mac itself was not told" in done.stderr
        assert "mac" not in pools(house)
        assert "[hosts.mac]" not in house.blep.read(CONFIG)
    finally:
        house.hosts["mac"].restore_link()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nonsense", "expected an IP address"),
        ("1.2.3.4", "expected an IP address"),
        ("99999", "expected an IP address"),
        ("192.0.2.7:8080", "no interface of this host has the address of 192.0.2.7:8080"),
    ],
)
def test_an_address_that_is_none(house: House, address: str, problem: str) -> None:
    before = house.rbee_json("orchestrator", "status")["listens"]
    done = house.rbee("orchestrator", "listen", address, check=False)
    assert (done.returncode, problem in done.stderr) == (64, True)
    assert house.rbee_json("orchestrator", "status")["listens"] == before


def test_a_port_that_is_taken_is_said_and_the_queen_stays_where_she_was(house: House) -> None:
    before = house.rbee_json("orchestrator", "status")["listens"]
    done = house.rbee("orchestrator", "listen", "22", check=False)
    assert done.returncode == 73, done.stderr
    assert "another program listens at 22, so rbee-queen cannot" in done.stderr
    assert "hint: ss -ltnp sport = :22" in done.stderr
    assert house.rbee_json("orchestrator", "status")["listens"] == before


def test_without_a_token_nothing_listens_on_the_network(house: House) -> None:
    workstation = house.hosts["workstation"]
    workstation.run(["mv", "/etc/rbee/token", "/etc/rbee/token.away"])
    done = workstation.run(["rbee", "orchestrator", "listen", "8080"], check=False)
    workstation.run(["mv", "/etc/rbee/token.away", "/etc/rbee/token"])
    assert done.returncode == 78
    assert "reachable from the network, but no token is configured" in done.stderr
    assert "hint: rbee-keeper token new --output /etc/rbee/token" in done.stderr


def test_loopback_again(house: House) -> None:
    assert "127.0.0.1:8080" in house.rbee("orchestrator", "listen", "loopback").stdout
    assert json.loads(house.rbee("jobs", "list", "--format", "json").stdout) is not None
