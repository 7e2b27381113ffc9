# Style, types, import layers, scripts.
{
  lib,
  callPackage,
  runCommand,
  shellcheck,
}:
let
  environment = callPackage ./environment.nix { };
in
runCommand "rbee-lint"
  {
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../rbee
        ../bench
        ../tests
        ../tools
        ../.ci
        ../debian
        ../setup.cfg
        ../setup.py
        ../ruff.toml
      ];
    };
    nativeBuildInputs = [
      environment
      shellcheck
    ];
  }
  ''
    cp --recursive "$src" source && chmod -R u+w source && cd source
    python -m pytest -q -p no:cacheprovider tests/unit/test_linters.py
    touch "$out"
  ''
