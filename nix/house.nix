# The example house: each file of nix/example is a host of that name.
{ lib, self }:
let
  files = lib.filterAttrs (name: _: lib.hasSuffix ".nix" name) (builtins.readDir ./example);
  host =
    file: _:
    let
      name = lib.removeSuffix ".nix" file;
    in
    lib.nameValuePair name (
      lib.nixosSystem {
        modules = [
          self.nixosModules.default
          (./example + "/${file}")
          { networking.hostName = lib.mkDefault name; }
        ];
      }
    );
in
lib.mapAttrs' host files
