"""NixOS configurations, evaluated with the module and the stand-in for nixpkgs."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
NIX_CONFIG = "build-users-group =\nsubstituters =\nsandbox = false\n"
_HEAD = """
let
  lib = import ./tests/nix/nixpkgs/lib;
  nixosSystem = import ./tests/nix/nixpkgs/nixos { inherit lib; };
  # The module works with any package, and without the overlay.
  package = { pkgs, ... }: {
    services.rbee.package = lib.mkDefault (
      pkgs.runCommand "rbee" { meta.mainProgram = "rbee-keeper"; passthru.cudaSupport = false; } "mkdir $out"
    );
  };
  evaluated = module: (nixosSystem { modules = [ ./nix/module.nix package module ]; }).config;
in
"""


class NixFailed(Exception):
    """Nix did not evaluate it; the text is Nix' own."""


def evaluate(expression: str) -> Any:
    """Return what ``expression`` is, in which ``evaluated MODULE`` is a configuration.

    Raises:
        NixFailed: it is wrong.
    """
    return json.loads(_nix("nix-instantiate", "--eval", "--strict", "--json", "--expr", _HEAD + expression))


def build(expression: str) -> Path:
    """Return the store path that ``expression`` is built into. Raises NixFailed."""
    return Path(_nix("nix-build", "--no-out-link", "--expr", _HEAD + expression).strip())


def _nix(*argv: str) -> str:
    environ = {**os.environ, "NIX_CONFIG": NIX_CONFIG}
    done = subprocess.run(argv, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NixFailed(done.stderr)
    return done.stdout


def rbee(body: str) -> str:
    """Return a module that says ``body`` within ``services.rbee``."""
    return f"({{ lib, pkgs, ... }}: {{ services.rbee = {{ {body} }}; }})"


def units(module: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the text of each unit or drop-in, and whether it is enabled."""
    found: Mapping[str, Mapping[str, Any]] = evaluate(
        f"builtins.mapAttrs (_: unit: {{ inherit (unit) enable text wantedBy; }}) (evaluated {module}).systemd.units"
    )
    return found


def toml(module: str) -> Path:
    """Return the rbee.toml of a configuration, as it is built."""
    return build(
        f"(evaluated {{ imports = [ {module} ]; services.rbee.checkConfig = false; }}).services.rbee.configFile"
    )
