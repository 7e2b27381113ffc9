"""What the drop-ins of the module do to a host whose configuration is switched: on real systemd, step by step as NixOS'
own program does it (stop what is gone, write, daemon-reload, reload, restart). That program itself is not run here."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.nix.evaluating import QUEEN, build, rbee, units
from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import Hammer, Lab

HERE = f"{QUEEN} pool.enable = true;"
UNITS = "/etc/systemd/system"
PROGRAMS = "/run/current-system/sw/bin"
SHIPPED = ("rbee-queen", "rbee-pool", "rbee-broker", "rbee-workers")

Units = Mapping[str, Mapping[str, Any]]


@pytest.fixture
def lab(host: Host) -> Lab:
    """A host with rbee installed, as a NixOS host that was switched to ``HERE``."""
    lab = Lab(host)
    host.run(["sh", "-c", f"mkdir -p {PROGRAMS} && ln -s $(command -v llm-worker-rbee) {PROGRAMS}/"])
    # The daemons' systemctl is a store path; it has to be there.
    build("(evaluated { }).systemd.package")
    _lay(lab, units(rbee(HERE)))
    lab.systemctl("daemon-reload")
    lab.systemctl("restart", "rbee-queen.socket", "rbee-pool.socket", "rbee-broker.socket")
    lab.systemctl("start", "rbee-queen.service", "rbee-pool.service")
    lab.systemctl("start", "rbee-queen-address.service", "rbee-pool-address.service")
    lab.give_tiny()
    return lab


def test_another_address_is_served_after_the_switch_and_workers_go_on(lab: Lab) -> None:
    lab.spawn("tiny", "--id", "busy")
    before = lab.pid("rbee-worker-busy.service")
    _lay(lab, units(rbee(f"{HERE} queen.port = 8088; pool.port = 9300;")))
    lab.systemctl("daemon-reload")
    lab.systemctl("reload", "rbee-queen-address.service", "rbee-pool-address.service")
    with Hammer(lab, 8088) as queen, Hammer(lab, 9300) as pool:
        queen.wait_for_answers(3)
        pool.wait_for_answers(3)
    assert queen.failures == pool.failures == []
    with Hammer(lab, 8080) as nobody:
        wait_for(lambda: nobody.failures, "the old address to be closed", 20)
    assert nobody.answers == 0
    assert lab.pid("rbee-worker-busy.service") == before


def test_a_boot_with_the_same_address_restarts_nothing(lab: Lab) -> None:
    before = lab.pid("rbee-queen.service"), lab.pid("rbee-pool.service")
    lab.systemctl("restart", "rbee-queen-address.service", "rbee-pool-address.service")
    assert (lab.pid("rbee-queen.service"), lab.pid("rbee-pool.service")) == before


def test_changed_drop_ins_refuse_nobody_and_workers_go_on(lab: Lab) -> None:
    lab.spawn("tiny", "--id", "busy")
    before = lab.pid("rbee-worker-busy.service")
    with Hammer(lab, 8080) as queen, Hammer(lab, 9200) as pool:
        queen.wait_for_answers(5)
        pool.wait_for_answers(5)
        _lay(lab, units(rbee(f'{HERE} queen.settings.queue_capacity = 7; pool.hfTokenFile = "/etc/rbee/token";')))
        lab.systemctl("daemon-reload")
        lab.systemctl("restart", "rbee-queen.service", "rbee-pool.service")
        queen.wait_for_answers(5)
        pool.wait_for_answers(5)
    assert queen.failures == pool.failures == []
    assert lab.pid("rbee-worker-busy.service") == before
    environ = lab.show("rbee-pool.service", "Environment")
    assert f"RBEE_WORKER_EXEC={PROGRAMS}/llm-worker-rbee" in environ
    assert "HF_TOKEN_PATH=/run/credentials/rbee-pool.service/hugging-face" in environ


def test_a_pool_that_is_taken_out_takes_its_workers_with_it(lab: Lab) -> None:
    lab.spawn("tiny", "--id", "busy")
    lab.spawn("tiny", "--id", "asleep", "--lazy")
    after = units(rbee(QUEEN))
    gone = [name for name, unit in after.items() if not unit["enable"]]
    assert "rbee-workers.slice" in gone
    lab.systemctl("stop", *gone)
    _lay(lab, after)
    lab.systemctl("daemon-reload")
    assert lab.units("rbee-worker-*") == set()
    for name in ("rbee-pool.service", "rbee-pool.socket", "rbee-broker.socket"):
        assert lab.show(name, "LoadState") == "masked"
    with Hammer(lab, 8080) as queen:
        queen.wait_for_answers(3)
    assert queen.failures == []
    assert json.loads(lab.rbee("pool", "list", "--format", "json").stdout) is not None


def _lay(lab: Lab, found: Units) -> None:
    """Write units as NixOS does: a drop-in beside one that is shipped, a link to nowhere for one that is masked."""
    for name, unit in found.items():
        path = f"{UNITS}/{name}"
        if not unit["enable"]:
            lab.host.run(["ln", "-sfn", "/dev/null", path])
        elif name.partition(".")[0] in SHIPPED:
            lab.host.write(f"{path}.d/overrides.conf", unit["text"])
        else:
            lab.host.write(path, unit["text"])
