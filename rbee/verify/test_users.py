"""Users, and what belongs to whom."""

from rbee.verify.facts import Facts
from rbee.verify.options import POOL, QUEEN
from rbee.verify.unmet import does_not_apply, require

NO_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/run/current-system/sw/bin/nologin")
SYSUSERS = "systemd-sysusers"


def test_user_rbee_is_ordinary(facts: Facts) -> None:
    """User rbee exists and is not root"""
    facts.system_mode_only()
    user = facts["users"]["rbee"]
    found = "no such user" if user is None else f"uid {user['uid']}"
    require(found, "a uid above 0", holds=user is not None and user["uid"] > 0, mend=SYSUSERS, nixos=POOL)


def test_user_rbee_has_no_shell(facts: Facts) -> None:
    """Nobody can log in as user rbee"""
    facts.system_mode_only()
    user = facts["users"]["rbee"]
    if user is None:
        does_not_apply("there is no user rbee: see users.user_rbee_is_ordinary")
    mend = "usermod --shell /usr/sbin/nologin rbee"
    require(user["shell"], "/usr/sbin/nologin", holds=user["shell"] in NO_SHELLS, mend=mend, nixos=POOL)


def test_group_rbee_token_exists(facts: Facts) -> None:
    """Group rbee-token exists: daemons read a changed token through it"""
    facts.system_mode_only()
    require(facts["groups"]["rbee-token"], True, mend=SYSUSERS, nixos=POOL)


def test_daemons_are_not_root(facts: Facts) -> None:
    """No daemon runs as root; the broker alone has uid 0, without a capability"""
    running = facts.daemons()
    roots = [name for name, process in running.items() if process["uid"] == 0 and name != "rbee-broker.service"]
    again = " ".join(roots)
    require(roots, [], mend=f"systemctl revert {again}; systemctl restart {again}", nixos=POOL)


def test_state_is_rbees(facts: Facts) -> None:
    """The pool's state belongs to user rbee, and only rbee may write it"""
    _belongs(facts, facts["settings"].get("state") or _unread(facts), "0755 rbee:rbee")


def test_models_are_rbees(facts: Facts) -> None:
    """The folder of models belongs to user rbee, and workers may read it"""
    facts.system_mode_only()
    folder = facts["settings"].get("models") or _unread(facts)
    found = facts.path(folder)
    if found.get("missing"):
        _belongs(facts, folder, "0755 rbee:rbee")
        return
    right = found["owner"] == "rbee" and int(found["mode"], 8) & 0o007 == 0o005  # its group is its owner's affair
    said = f"{found['mode']} {found['owner']}:{found['group']}"
    mend = f"chown rbee {folder}; chmod u=rwx,o=rx {folder}"
    require(said, "0755 rbee:rbee", holds=right, mend=mend, nixos=POOL)


def test_queens_state_is_private(facts: Facts) -> None:
    """The queen's database is for her alone, where a queen is"""
    facts.queen_only()
    facts.system_mode_only()
    facts.root_only()
    found = facts.path("/var/lib/rbee-queen")
    if found.get("missing"):
        does_not_apply("the queen has not run here yet, so she has no state")
    right = found["mode"] == "0700" and found["owner"] != "root"
    mend = "chmod 700 /var/lib/rbee-queen/; systemctl restart rbee-queen.service"
    require(f"{found['mode']} {found['owner']}", "0700, not root's", holds=right, mend=mend, nixos=QUEEN)


def _belongs(facts: Facts, folder: str, expected: str) -> None:
    facts.system_mode_only()
    found = facts.path(folder)
    if found.get("missing"):
        require("missing", expected, mend="systemd-tmpfiles --create rbee.conf", nixos=POOL)
    mode, _, owner = expected.partition(" ")
    shown = f"{found['mode']} {found['owner']}:{found['group']}"
    require(shown, expected, mend=f"chmod {mode[1:]} {folder}; chown {owner} {folder}", nixos=POOL)


def _unread(facts: Facts) -> str:
    return str(facts["models"])
