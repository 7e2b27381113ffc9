"""Root acts in a checkout as whoever owns it: its hooks are theirs, and git trusts nobody else's files."""

import os
import pwd
from pathlib import Path


def may_act(path: Path | None) -> bool:
    """Say whether this process can work in a checkout itself: it is ours, or we are root and become its owner."""
    if path is None or os.geteuid() == 0:
        return True
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return True  # and is told what is wrong with it


def become_owner(path: Path | None) -> None:
    """Let this process, where it is root's, go on for good as the owner of the checkout at ``path``."""
    if path is None or os.geteuid() != 0:
        return
    try:
        owner = path.stat()
    except OSError:
        return
    if owner.st_uid == 0:
        return
    import git  # noqa: F401, PLC0415  (while we can read it: rbee may lie where the owner cannot look)

    from rbee.adapters.git_checkout import reading  # noqa: F401, PLC0415

    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)  # root's
    try:
        user = pwd.getpwuid(owner.st_uid)
    except KeyError:
        os.setgroups([owner.st_gid])
        os.setgid(owner.st_gid)
        os.environ["HOME"] = "/"
    else:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    os.setuid(owner.st_uid)
