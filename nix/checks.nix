# `nix flake check`: the package, its tests, and each file of nix/tests on machines of its own (these need KVM).
{
  lib,
  pkgs,
  self,
}:
let
  files = lib.filterAttrs (name: _: lib.hasSuffix ".nix" name) (builtins.readDir ./tests);
  machines = lib.mapAttrs' (
    file: _:
    lib.nameValuePair (lib.removeSuffix ".nix" file) (
      pkgs.testers.runNixOSTest (import (./tests + "/${file}") { inherit self; })
    )
  ) files;
in
{
  package = pkgs.rbee;
  unit-tests = pkgs.callPackage ./unit-tests.nix { };
  lint = pkgs.callPackage ./lint.nix { };
}
// machines
