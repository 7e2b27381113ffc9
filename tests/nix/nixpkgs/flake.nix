# Stands in for nixpkgs where there is no network. Everything here was written for rbee's tests: it knows only the
# functions, packages and options that rbee uses, so it can prove rbee's half of the contract and not nixpkgs' own.
{
  description = "A stand-in for nixpkgs: real evaluation and real builds, offline";

  outputs =
    { self }:
    let
      lib = import ./lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    in
    {
      lib = lib // {
        nixosSystem = import ./nixos { inherit lib; };
      };
      legacyPackages = lib.genAttrs systems (system: import ./pkgs { inherit lib system; });
    };
}
