"""Other hosts over the person's own OpenSSH.

``config`` is what we add to theirs, ``command`` what the far side runs, ``failures`` what ssh's words mean,
``remote`` the door itself; ``pool`` is ``PoolOps`` through it, imported by name where it is wanted.
"""

from rbee.adapters.ssh.remote import Remote

__all__ = ("Remote",)
