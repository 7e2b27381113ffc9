# Programs of this host, linked into the store: what they do is not what is tested.
{ lib, pkgs }:
let
  programs = {
    bash = [ "bash" ];
    bashInteractive = [ "bash" ];
    coreutils = [ "install" "kill" "cat" "ls" "mkdir" "cp" "env" "true" "false" "sleep" ];
    curl = [ "curl" ];
    findutils = [ "find" "xargs" ];
    gitMinimal = [ "git" ];
    git = [ "git" ];
    gnugrep = [ "grep" ];
    gnused = [ "sed" ];
    jq = [ ];
    man-db = [ ];
    nixfmt = [ ];
    nixfmt-tree = [ ];
    autoAddDriverRunpath = [ ];
    openssh = [ "ssh" "scp" ];
    openssl = [ ];
    ruff = [ ];
    shellcheck = [ ];
    systemd = [ "systemctl" "systemd-analyze" "journalctl" "systemd-run" ];
    util-linux = [ "nsenter" "flock" ];
    zlib = [ ];
    cmake = [ ];
    ninja = [ ];
    pkg-config = [ ];
    autoPatchelfHook = [ ];
    installShellFiles = [ ];
    makeWrapper = [ ];
    vulkan-loader = [ ];
    vulkan-headers = [ ];
    shaderc = [ ];
  };
  linked =
    name: files:
    pkgs.runCommand name {
      inherit files;
      meta.mainProgram = lib.head (files ++ [ name ]);
    } ''
      mkdir -p "$out/bin"
      for file in $files; do
        found=$(type -P "$file") || { echo "this host has no $file" >&2; exit 1; }
        ln -s "$found" "$out/bin/$file"
      done
    '';
in
lib.mapAttrs linked programs
// {
  addDriverRunpath.driverLink = "/run/opengl-driver";
  cudaPackages =
    lib.genAttrs [
      "cuda_cudart"
      "libcublas"
    ] (name: linked name [ ])
    // {
      cuda_nvcc = linked "cuda_nvcc" [ ] // { meta.mainProgram = "nvcc"; };
      cccl = linked "cccl" [ ];
      flags.cmakeCudaArchitecturesString = "86;89";
      backendStdenv = pkgs.stdenv;
    };
}
