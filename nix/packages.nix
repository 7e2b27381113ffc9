# `nix build .#rbee`. CUDA is unfree: who builds rbee-cuda by its name has agreed to that, and `nix flake check` needs no
# setting for it. Through the overlay it is the configuration's to say (nixpkgs.config.allowUnfree).
{
  lib,
  pkgs,
  self,
}:
let
  inherit (pkgs.stdenv) hostPlatform;
  unfree = import pkgs.path {
    inherit (hostPlatform) system;
    config.allowUnfree = true;
    overlays = [ self.overlays.default ];
  };
in
{
  inherit (pkgs) rbee;
  default = pkgs.rbee;
}
// lib.optionalAttrs hostPlatform.isx86_64 { inherit (unfree) rbee-cuda; }
