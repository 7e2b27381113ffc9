# pkgs.rbee, and pkgs.rbee-cuda for NVIDIA's GPUs (unfree, and long to compile).
final: _: {
  rbee = final.callPackage ./package.nix { };
  rbee-cuda = final.rbee.override { cudaSupport = true; };
}
