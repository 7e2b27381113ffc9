# mac is a second pool, an ARM machine that works on its processor and sleeps most of the day.
{
  imports = [ ./shared/house.nix ];
  nixpkgs.hostPlatform = "aarch64-linux";

  services.rbee.pool = {
    enable = true;
    listen = "0.0.0.0";
    url = "http://192.168.1.30:9200";
    queen = "http://blep.home.arpa:8080";
    workerSlice.allowedCpus = "4-7";
  };
  services.rbee.models.chat = {
    hub.repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
    hub.file = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
    ctx = 4096;
    idle = 300;
  };
}
