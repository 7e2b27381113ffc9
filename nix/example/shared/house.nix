# What all hosts of the house have. How the token gets to a host is what you use for secrets anyway (sops-nix, agenix, a
# file copied once): here it is a file of root's that is there when rbee starts.
{
  networking.domain = "home.arpa";

  services.openssh.enable = true;
  # The keeper logs in as root; with another user give the hosts below `sudo = true`.
  users.users.root.openssh.authorizedKeys.keys = [ ];

  services.rbee = {
    tokenFile = "/run/secrets/rbee-token";
    openFirewall = true;
  };

  # Stands for your hardware-configuration.nix.
  boot.loader.systemd-boot.enable = true;
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/boot";
    fsType = "vfat";
  };
  system.stateVersion = "26.05";
}
