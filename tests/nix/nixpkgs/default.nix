# The packages with a configuration of their own, as `import nixpkgs { … }`.
{
  system,
  config ? { },
  overlays ? [ ],
}:
let
  lib = import ./lib;
  pkgs = import ./pkgs { inherit lib system overlays; };
in
pkgs // { inherit config; }
