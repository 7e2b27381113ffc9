"""The fleet token, and who may read it."""

from rbee.verify.facts import Facts
from rbee.verify.options import POOL, POOL_TOKEN
from rbee.verify.unmet import does_not_apply, require

TOKEN = "/etc/rbee/token"  # noqa: S105  (where it is, not what)
PRIVATE = ("0600 root", "0400 root")  # the second is what tools that bring secrets to a host make
OPEN = "22"


def test_token_is_private(facts: Facts) -> None:
    """Only root may read the token file"""
    facts.system_mode_only()
    found = facts.path(TOKEN)
    if found.get("missing"):
        require("missing", "0600 root", mend="systemctl start rbee-token.service", nixos=POOL_TOKEN)
    mend = f"chmod 600 {TOKEN}; chown root: {TOKEN}"
    shown = f"{found['mode']} {found['owner']}"
    require(shown, "0600 root", holds=shown in PRIVATE, mend=mend, nixos=POOL_TOKEN)


def test_token_is_in_no_environment(facts: Facts) -> None:
    """No daemon has the token in its environment, where ps would show it"""
    _known(facts)
    names = [name for name, process in facts.daemons().items() if process["token_in_environment"]]
    again = " ".join(names)
    require(names, [], mend=f"systemctl revert {again}; systemctl restart {again}", nixos=POOL_TOKEN)


def test_token_is_not_in_the_settings(facts: Facts) -> None:
    """rbee.toml, which all may read, does not hold the token"""
    _known(facts)
    file = facts["settings"].get("file") or "/etc/rbee/rbee.toml"
    found = f"in {file}" if facts["secrets"]["in_config"] else "in its own file only"
    mend = f"grep -vFf {TOKEN} {file} >{file}.new; chmod 644 {file}.new; mv {file}.new {file}"
    require(found, "in its own file only", mend=mend, nixos=POOL_TOKEN)


def test_settings_are_roots(facts: Facts) -> None:
    """Only root may change rbee.toml"""
    facts.system_mode_only()
    found = facts.path("/etc/rbee/rbee.toml")
    if found.get("missing"):
        does_not_apply("there is no /etc/rbee/rbee.toml: every setting has its default")
    mend = "chown root:root /etc/rbee/rbee.toml; chmod 644 /etc/rbee/rbee.toml"
    holds = found["owner"] == "root" and not int(found["mode"], 8) & int(OPEN, 8)
    require(f"{found['mode']} {found['owner']}", "root's, not writable by others", holds=holds, mend=mend, nixos=POOL)


def test_workers_secrets_are_private(facts: Facts) -> None:
    """The secrets of workers can be read by user rbee only"""
    facts.system_mode_only()
    facts.root_only()
    folder = facts.path("/run/rbee/workers")
    shown = f"{folder['mode']} {folder['owner']}:{folder['group']}" if "mode" in folder else "missing"
    mend = "systemd-tmpfiles --create rbee.conf; chmod 2750 /run/rbee/workers; chmod o= /run/rbee/workers/*"
    files = {name: one["mode"] for name, one in facts["secrets"]["workers"].items() if one.get("mode", "0")[-1] != "0"}
    expected = "2750 root:rbee, and no file for others"
    holds = shown == "2750 root:rbee" and not files
    require({"/run/rbee/workers": shown, **files}, expected, holds=holds, mend=mend, nixos=POOL)


def _known(facts: Facts) -> None:
    facts.root_only()
    if not facts["secrets"]["readable"]:
        does_not_apply("there is no token on this host: see secrets.token_is_private")
