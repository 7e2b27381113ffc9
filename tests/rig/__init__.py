"""Several real systemd hosts on one machine, for tests.

A host is ``systemd-nspawn --boot`` on an overlay of this machine's ``/``: its own PID 1, journal, D-Bus, sshd,
users, cgroups and network address, half a second to boot and nothing left behind. All hosts live in one set of
private namespaces together with the program that uses them, the *controller*.

To follow one boot, read in this order:

    namespace   the private namespaces and the PID 1 that keeps them tidy
    controller  the rig's own side: addresses, ssh, the hosts there are
    stage       what ``make install`` would put on a host
    tree        the files of one host
    cgroups     where its processes are accounted and limited
    network     its link, and how to cut it
    machine     its systemd-nspawn process
    host        what a test does with it
    plugin      the pytest fixtures;  __main__ is the same by hand (``make rig``)
"""

from tests.rig.controller import Controller
from tests.rig.errors import CommandError, RigError
from tests.rig.host import Host
from tests.rig.waiting import wait_for

__all__ = ["CommandError", "Controller", "Host", "RigError", "wait_for"]
