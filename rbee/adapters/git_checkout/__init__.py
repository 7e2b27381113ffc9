"""The host's git checkout, through GitPython. ``GitCheckout`` is the way in; it imports GitPython when it is used.

``checkout`` is the operations, ``reading`` what they look at, ``refusals`` git's words made into sentences,
``ownership`` whose checkout it is.
"""

from rbee.adapters.git_checkout.checkout import GitCheckout
from rbee.adapters.git_checkout.ownership import become_owner, may_act

__all__ = ("GitCheckout", "become_owner", "may_act")
