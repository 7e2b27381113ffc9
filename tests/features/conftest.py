"""Three hosts that are one fleet, for all features together; each scenario leaves them as it found them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.features.hub import MODEL, Hub, hub_on
from tests.features.world import World
from tests.fleet.house import NAMES, House
from tests.rig.plugin import Hosts

HERE = Path(__file__).parent
TAG = re.compile(r"(?<=@)[\w-]+")


def pytest_configure(config: pytest.Config) -> None:
    """Announce the features' tags as markers, since pytest wants each to be known."""
    for tag in sorted({tag for file in HERE.glob("*.feature") for tag in TAG.findall(file.read_text())}):
        config.addinivalue_line("markers", f"{tag}: a tag of features")


@pytest.fixture(scope="module")
def fleet(module_hosts: Hosts) -> House:
    """blep has keeper and queen; workstation and mac are registered pools of hers, and blep itself is one."""
    house = House(module_hosts(*NAMES))
    house.introduce()
    for name in NAMES:
        house.lab(name).give_tiny()
    house.rbee("orchestrator", "listen", "8080")
    for name in NAMES:
        house.rbee("pool", "register", name)
    return house


@pytest.fixture(scope="module")
def serving(fleet: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub_on(fleet.hosts["mac"], tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def hub(serving: Hub, world: World) -> Iterator[Hub]:
    """A hub that does nothing wrong, and a mac that has nothing from it, before and after."""
    serving.faults()
    yield serving
    serving.faults()
    forget = f"rbee-hive models delete {MODEL} --yes; rm -rf /var/lib/rbee/models/{MODEL}"
    world.shell("mac", f"({forget}) >/dev/null 2>&1; true")


@pytest.fixture
def world(fleet: House) -> Iterator[World]:
    """What one scenario remembers."""
    made = World(fleet)
    yield made
    made.clean_up()
