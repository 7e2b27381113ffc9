# What a configuration imports: the module, with rbee among its packages.
{ self }:
rec {
  rbee = {
    imports = [ ./module.nix ];
    nixpkgs.overlays = [ self.overlays.default ];
  };
  default = rbee;
}
