# Those options of NixOS that our module, our example house and our VM tests set. A name that is not declared here is an
# error, so whoever sets one more looks it up in NixOS and declares it, by the type it has there.
{
  imports = [
    ./units.nix
    ./rendering.nix
    ./host.nix
    ./toplevel.nix
  ];
}
