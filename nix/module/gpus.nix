# services.rbee.pool.gpus: what a worker needs of the host to use a GPU. Which device nodes it may open, rbee says itself,
# worker by worker; where the driver's libraries are, the package's programs know.
{ config, lib, ... }:
let
  cfg = config.services.rbee;
  pool = cfg.pool;
  nvidia = lib.elem "nvidia" pool.gpus;
  driver = lib.elem "nvidia" config.services.xserver.videoDrivers || config.hardware.nvidia.datacenter.enable;
  made = lib.attrValues cfg.workers ++ lib.attrValues cfg.models;
  wants = backend: lib.any (each: each.backend == backend) made;
in
{
  options.services.rbee.pool.gpus = lib.mkOption {
    type = lib.types.listOf (
      lib.types.enum [
        "nvidia"
        "amd"
        "intel"
      ]
    );
    default = [ ];
    example = [ "nvidia" ];
    description = ''
      Whose GPUs this host's workers use. Graphics drivers are installed, and for NVIDIA the kernel module that CUDA needs
      is loaded. Which driver it is stays yours to say
      (`services.xserver.videoDrivers = [ "nvidia" ]`, also where there is no screen), as is a package whose llama.cpp
      was built for the GPU: `services.rbee.package = pkgs.rbee-cuda`.
    '';
  };

  config = lib.mkIf pool.enable {
    hardware.graphics.enable = lib.mkIf (pool.gpus != [ ]) (lib.mkDefault true);
    boot.kernelModules = lib.mkIf (nvidia && driver) [ "nvidia_uvm" ];

    warnings =
      lib.optional (nvidia && !driver) ''
        services.rbee.pool.gpus has "nvidia", and no NVIDIA driver is configured, so no worker will find a GPU:
        services.xserver.videoDrivers = [ "nvidia" ];
      ''
      ++ lib.optional (wants "cuda" && !nvidia) ''
        services.rbee: a worker or a model wants cuda, and services.rbee.pool.gpus does not have "nvidia":
        services.rbee.pool.gpus = [ "nvidia" ];
      ''
      ++ lib.optional (wants "cuda" && nvidia && !(cfg.package.cudaSupport or true)) ''
        services.rbee: a worker or a model wants cuda, and the llama.cpp of services.rbee.package was built without it:
        services.rbee.package = pkgs.rbee-cuda;
      '';
  };
}
