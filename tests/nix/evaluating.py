"""NixOS configurations, evaluated with the module and the stand-in for nixpkgs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.nix.standin import nix

# Bodies of services.rbee, for `rbee`.
TOKEN = 'tokenFile = "/run/secrets/rbee-token";'
QUEEN = "queen.enable = true;"
ELSEWHERE = f'pool.enable = true; pool.queen = "http://blep.home.arpa:8080"; {TOKEN}'
POOL = f'{ELSEWHERE} pool.url = "http://192.168.1.20:9200";'
HASH = f"sha256-{'A' * 43}="
HUB = 'repo = "org/name"; file = "x.gguf";'
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


def evaluate(expression: str) -> Any:
    """Return what ``expression`` is, in which ``evaluated MODULE`` is a configuration.

    Raises:
        NixError: it is wrong.
    """
    return json.loads(nix("nix-instantiate", "--eval", "--strict", "--json", "--expr", _HEAD + expression))


def build(expression: str) -> Path:
    """Return the store path that ``expression`` is built into. Raises NixError."""
    return Path(nix("nix-build", "--no-out-link", "--expr", _HEAD + expression).strip())


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
