# `nix develop`: all that rbee, its tests and its linters need.
{ pkgs, ... }:
{
  default = pkgs.mkShell {
    packages = [
      (pkgs.callPackage ./environment.nix { })
      pkgs.shellcheck
      pkgs.nixfmt
      pkgs.gitMinimal
    ];
  };
}
