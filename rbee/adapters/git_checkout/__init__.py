"""The host's git checkout, through GitPython. ``GitCheckout`` is the way in; it imports GitPython when it is used.

``checkout`` is the operations, ``reading`` what they look at, ``refusals`` git's words made into sentences.
"""

from rbee.adapters.git_checkout.checkout import GitCheckout

__all__ = ("GitCheckout",)
