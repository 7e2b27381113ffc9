# The unit tests of what needs nothing of a machine: the two cores, their messages and the settings. All others run
# where rbee is developed (`make test`).
{
  lib,
  callPackage,
  runCommand,
}:
runCommand "rbee-unit-tests"
  {
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../rbee
        ../etc
        ../docs
        ../tests
        ../setup.cfg
      ];
    };
  }
  ''
    cp --recursive "$src" source && chmod -R u+w source && cd source
    ${callPackage ./environment.nix { }}/bin/python -m pytest -q -p no:cacheprovider \
      tests/unit/{orchestrator_core,pool_core,wire} tests/unit/test_config.py
    touch "$out"
  ''
