"""Why a pool-managerd ends, as its unit is told to, in the system's manager and in a user's."""

from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab
from tests.systemd.sleeping import inhibitors

LOCKS = {"shutdown", "sleep"}
BY_HAND = ("systemd-run", "--user", "--unit=mine", "--service-type=notify", "pool-managerd", "--bind", "127.0.0.1:9300")


def leavings(host: Host) -> list[str]:
    return host.journal("-b", "-o", "cat", "--grep", "^pool.leaving").splitlines()


def test_a_users_own_pool_holds_the_same_locks_and_tells_a_stop_from_a_restart(host: Host) -> None:
    host.add_user("ann")
    host.run(BY_HAND, user="ann")
    wait_for(lambda: inhibitors(host, "ann") == LOCKS, "the locks", 20)
    for how in ("restart", "try-restart", "reload-or-restart"):
        host.run(["systemctl", "--user", how, "mine.service"], user="ann")
    assert leavings(host) == []
    host.run(["systemctl", "--user", "stop", "mine.service"], user="ann")
    (left,) = leavings(host)
    assert "reason=stop" in left
    wait_for(lambda: inhibitors(host, "ann") == set(), "logind to have its locks back", 10)


def test_stopping_its_socket_is_a_stop_and_restarting_it_is_not(lab: Lab) -> None:
    lab.systemctl("start", "rbee-pool.service")
    wait_for(lambda: inhibitors(lab.host) == LOCKS, "the locks", 20)
    lab.systemctl("restart", "rbee-pool.socket")
    assert leavings(lab.host) == []
    lab.systemctl("start", "rbee-pool.service")
    lab.systemctl("stop", "rbee-pool.socket")
    wait_for(lambda: lab.show("rbee-pool.service", "ActiveState") == "inactive", "the service to follow", 20)
    assert ["reason=stop" in left for left in leavings(lab.host)] == [True]


def test_a_host_nobody_works_at_is_not_held_up(lab: Lab) -> None:
    lab.systemctl("start", "rbee-pool.service")
    wait_for(lambda: inhibitors(lab.host) == LOCKS, "the locks", 20)
    wait_for(lambda: "queen ok" in lab.show("rbee-pool.service", "StatusText"), "the queen, who is told of it", 20)
    lab.host.reboot()
    (left,) = lab.host.journal("-b", "-1", "-o", "cat", "--grep", "^pool.left").splitlines()
    assert "reason=shutdown busy=0" in left
    assert lab.host.journal("-b", "-1", "-u", "systemd-logind.service", "--grep", "Delay lock is active") == ""
