"""The rig's own side: the tmpfs everything lies on, the bridge, the ssh key, and the hosts there are."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.rig import cgroups, network, tree
from tests.rig.errors import RigError, call
from tests.rig.host import SSH_CONFIG, Host
from tests.rig.machine import Machine
from tests.rig.stage import Stage
from tests.rig.waiting import PATIENCE

DIRECTORY = Path("/run/rig")
SSH_CONFIG_TEXT = f"""\
Host *
    User root
    IdentityFile {DIRECTORY}/id
    UserKnownHostsFile {DIRECTORY}/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout {3 * PATIENCE}
"""


class Controller:
    """Where tests run: PID namespace and network of the rig, not a host itself. Answers to the name ``controller``.

    ``stage`` holds what ``make install`` made; without one, hosts have no rbee.
    """

    ip = network.CONTROLLER_IP
    domain = network.DOMAIN
    ssh_config = SSH_CONFIG

    def __init__(self, rig_id: str, stage: Stage | None) -> None:
        self._rig_id = rig_id
        self._numbers = dict(network.WELL_KNOWN)
        self._host_keys: dict[str, str] = {}
        self._hosts: dict[str, Host] = {}
        self._prepare_directory()
        network.create_bridge()
        self._layer: Path | None = None
        if stage is not None:
            self._layer = DIRECTORY / "stage"
            self._layer.mkdir()
            stage.copy_to(self._layer)

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts there are, up or not, by name."""
        return self._hosts

    def create(self, names: Iterable[str], *, rbee: bool = True) -> dict[str, Host]:
        """Make hosts, boot them side by side, and return them when all are up.

        Raises:
            RigError: a name is taken, rbee is wanted and there is no stage, or a host did not come up.
        """
        names = list(names)
        for name in names:
            self._number(name)
        self._write_hosts_file()
        made = {name: self._make(name, rbee=rbee) for name in names}
        for host in made.values():
            host.start()
        for host in made.values():
            host.await_boot()
        return made

    def discard(self, names: Iterable[str]) -> None:
        """Switch hosts off the hard way and forget their disks."""
        for name in [name for name in names if name in self._hosts]:
            host = self._hosts.pop(name)
            host.power_loss()
            tree.discard(host.root.parent)
            cgroups.remove(self._rig_id, name)

    def partition(self, *names: str) -> None:
        """Let these hosts lose each other; the controller and all others still reach them."""
        for name in names:
            self._hosts[name].isolate()

    def heal(self) -> None:
        """Undo every partition and every cut."""
        for host in self._hosts.values():
            host.join()
            host.restore_link()

    def close(self) -> None:
        """Discard all hosts."""
        self.discard(list(self._hosts))

    def _prepare_directory(self) -> None:
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        call("mount", "-t", "tmpfs", "-o", "mode=755", "rig", str(DIRECTORY))
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "controller", "-f", str(DIRECTORY / "id"))
        (DIRECTORY / "ssh_config").write_text(SSH_CONFIG_TEXT)
        (DIRECTORY / "known_hosts").touch()
        self._write_hosts_file()
        # Only in our mount namespace; the machine's own files stay as they are.
        call("mount", "--bind", str(DIRECTORY / "ssh_config"), str(SSH_CONFIG))
        call("mount", "--bind", str(DIRECTORY / "hosts"), "/etc/hosts")

    def _make(self, name: str, *, rbee: bool) -> Host:
        if name in self._hosts:
            raise RigError(f"there is a host {name} already")
        if rbee and self._layer is None:
            raise RigError("this rig was started without rbee, so its hosts have to be bare")
        directory = DIRECTORY / name
        ip = network.address(self._number(name))
        root = tree.prepare(
            directory,
            name=name,
            ip=ip,
            hosts_file=network.hosts_file(self._numbers),
            public_key=(DIRECTORY / "id.pub").read_text(),
            layers=[self._layer] if rbee and self._layer else [],
        )
        if rbee and self._layer is not None:
            tree.finish_install(root, self._layer)
        self._know_host_key(name, ip, (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text())
        host = Host(name, ip, root, Machine(name, directory, cgroups.create(self._rig_id, name)))
        self._hosts[name] = host
        return host

    def _number(self, name: str) -> int:
        network.link(name)
        free = max(network.FIRST_FREE - 1, *self._numbers.values()) + 1
        return self._numbers.setdefault(name, free)

    def _know_host_key(self, name: str, ip: str, key: str) -> None:
        self._host_keys[name] = f"{name},{name}.{network.DOMAIN},{ip} {key}"
        (DIRECTORY / "known_hosts").write_text("".join(self._host_keys.values()))

    def _write_hosts_file(self) -> None:
        (DIRECTORY / "hosts").write_text(network.hosts_file(self._numbers))
