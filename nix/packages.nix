# `nix build .#rbee`.
{ pkgs, ... }:
{
  inherit (pkgs) rbee rbee-cuda;
  default = pkgs.rbee;
}
