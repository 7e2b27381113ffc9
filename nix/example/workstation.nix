# workstation has two NVIDIA GPUs, and a model that is always ready on the first of them.
{ pkgs, ... }:
{
  imports = [ ./shared/house.nix ];
  nixpkgs.hostPlatform = "x86_64-linux";

  # NVIDIA's driver and CUDA are unfree.
  nixpkgs.config.allowUnfree = true;
  services.xserver.videoDrivers = [ "nvidia" ];
  hardware.nvidia.open = true;

  services.rbee = {
    package = pkgs.rbee-cuda;

    pool = {
      enable = true;
      listen = "0.0.0.0";
      # Its address, since NixOS takes a host's own name for loopback.
      url = "http://192.168.1.20:9200";
      queen = "http://blep.home.arpa:8080";
      gpus = [ "nvidia" ];
      modelsDir = "/srv/models";
      settings.gpu_limit_c = 83;
    };

    models = {
      # rbee downloads it at the first start. To pin it give a commit as revision and `hash = lib.fakeHash`: the build
      # then fails with the true hash, and with that in its place Nix fetches the file into the store.
      chat = {
        hub.repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
        hub.file = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
        ctx = 8192;
        slots = 4;
        kv = "q8_0";
        backend = "cuda";
        priority = 10;
      };
      # A file that is on the host already.
      mine = {
        path = "/srv/models/mine.gguf";
        backend = "cuda";
        gpu = 1;
        idle = 900;
      };
    };

    workers.chat = {
      backend = "cuda";
      model = "chat";
      gpu = 0;
      pinned = true;
      keep = true;
    };
  };
}
