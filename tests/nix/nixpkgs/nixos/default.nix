# nixosSystem: a configuration out of modules, with the options of NixOS that are declared here. Specialisations are
# configurations of their own, as they are there.
{ lib }:
{
  modules,
  system ? "x86_64-linux",
  specialArgs ? { },
}:
let
  pkgsFor =
    platform: overlays:
    builtins.foldl' (pkgs: overlay: pkgs.extend overlay) (import ../pkgs {
      inherit lib;
      system = platform;
    }) overlays;
  evaluate =
    more:
    let
      evaluated = lib.evalModules {
        inherit specialArgs;
        modules = [
          ./modules.nix
          {
            _module.args.pkgs = pkgsFor evaluated.config.nixpkgs.hostPlatform evaluated.config.nixpkgs.overlays;
            nixpkgs.hostPlatform = lib.mkDefault system;
            system.build.specialisations = lib.mapAttrs (
              _: special:
              (evaluate (more ++ [ special.configuration { specialisation = lib.mkForce { }; } ])).config
            ) evaluated.config.specialisation;
          }
        ]
        ++ modules
        ++ more;
      };
    in
    evaluated;
in
evaluate [ ]
