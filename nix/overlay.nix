# pkgs.rbee, and pkgs.rbee-cuda for NVIDIA's GPUs (unfree, and long to compile).
final: _: {
  rbee = final.callPackage ./package.nix {
    # PyPI has no starlark-pyo3 for CPython 3.14 on aarch64.
    python3Packages =
      if final.stdenv.hostPlatform.isAarch64 then final.python313Packages else final.python3Packages;
  };
  rbee-cuda = final.rbee.override { cudaSupport = true; };
}
