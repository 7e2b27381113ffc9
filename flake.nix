{
  description = "rbee: your own machines as one service for language models, native to systemd";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll =
        file:
        lib.genAttrs systems (
          system:
          import file {
            inherit lib self;
            pkgs = nixpkgs.legacyPackages.${system}.extend self.overlays.default;
          }
        );
    in
    {
      overlays.default = import ./nix/overlay.nix;
      packages = forAll ./nix/packages.nix;
      apps = forAll ./nix/apps.nix;
      checks = forAll ./nix/checks.nix;
      devShells = forAll ./nix/shell.nix;
      formatter = forAll ./nix/formatter.nix;
      nixosModules = import ./nix/modules.nix { inherit self; };
      nixosConfigurations = import ./nix/house.nix { inherit lib self; };
    };
}
