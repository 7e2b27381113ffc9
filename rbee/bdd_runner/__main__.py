"""python -m rbee.bdd_runner: bdd-runner of a checkout that nobody installed."""

from rbee.bdd_runner import main

main()
