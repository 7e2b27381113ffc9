# blep is always on: the queen, the commands, and a small model on its processor.
{
  imports = [ ./shared/house.nix ];
  nixpkgs.hostPlatform = "x86_64-linux";

  services.rbee = {
    queen = {
      enable = true;
      listen = "0.0.0.0";
      url = "http://blep.home.arpa:8080";
      policy = ../../etc/policies/night-batch.star;
      settings.queue_capacity = 500;
    };

    # On loopback: of this house only the queen asks it, and she is here.
    pool.enable = true;
    pool.workerSlice = {
      memoryMax = "2G";
      cpuWeight = 50;
    };
    # The model that comes with rbee, so there is nothing to download.
    workers.small = {
      backend = "cpu";
      model = "smollm2";
      pinned = true;
    };

    keeper = {
      enable = true;
      hosts.workstation.ssh = "root@workstation.home.arpa";
      hosts.mac.ssh = "root@mac.home.arpa";
    };
  };
}
