"""Whether the host and we agree on the time."""

import time

from rbee.verify.facts import Facts
from rbee.verify.host import Host
from rbee.verify.options import NTP
from rbee.verify.unmet import does_not_apply, require

MOST_S = 2.0


def test_clock_agrees_with_ours(host: Host) -> None:
    """The host's clock is within 2 s of ours, the way there and back taken off"""
    asked = time.time()
    theirs = float(host.check_output("date +%s.%N"))
    answered = time.time()
    # It looked at its clock somewhere between the two; that much is not known, and not held against it.
    off_s = 0.0 if asked <= theirs <= answered else min(theirs - asked, theirs - answered, key=abs)
    found = f"{abs(off_s):.1f} s {'ahead' if off_s > 0 else 'behind'}"
    require(found, "within 2 s", holds=abs(off_s) <= MOST_S, mend="timedatectl set-ntp true", nixos=NTP)


def test_clock_is_synchronized(facts: Facts) -> None:
    """The host's clock is kept right by NTP"""
    said = facts["time"]
    if said.get("NTPSynchronized") != "yes" and said.get("CanNTP") != "yes":
        does_not_apply(
            "systemd knows of no NTP service on this host; clock.clock_agrees_with_ours says how right it is"
        )
    require(said.get("NTPSynchronized"), "yes", mend="timedatectl set-ntp true", nixos=NTP)
