# A Python with all that rbee's tests and linters need, and rbee's dependencies; rbee itself is the checkout's.
{ rbee }:
rbee.python3Packages.python.withPackages (_: builtins.attrValues rbee.python)
