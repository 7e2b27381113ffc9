# The rest of a host: users, files in /etc, firewall, devices, and what an example or a VM test sets.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  strings = types.listOf types.str;
  named = options: option (types.attrsOf (types.submodule { inherit options; })) { };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option strings [ ];

    boot.extraModprobeConfig = option types.lines "";
    boot.kernelModules = option strings [ ];
    boot.loader.grub.devices = option strings [ ];
    boot.loader.systemd-boot.enable = option types.bool false;
    boot.loader.efi.canTouchEfiVariables = option types.bool false;

    environment.etc = named {
      source = option (types.nullOr types.path) null;
      text = option (types.nullOr types.lines) null;
      mode = option types.str "symlink";
      user = option types.str "+0";
      group = option types.str "+0";
    };
    environment.systemPackages = option (types.listOf types.package) [ ];
    environment.variables = option (types.attrsOf types.str) { };

    fileSystems = option types.anything { };

    hardware.graphics.enable = option types.bool false;
    hardware.graphics.extraPackages = option (types.listOf types.package) [ ];
    hardware.nvidia.open = option (types.nullOr types.bool) null;
    hardware.nvidia.datacenter.enable = option types.bool false;

    networking.domain = option (types.nullOr types.str) null;
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    networking.firewall.allowedTCPPortRanges = option (types.listOf (types.attrsOf types.port)) [ ];
    networking.firewall.enable = option types.bool true;
    networking.firewall.interfaces = option types.anything { };
    networking.hostName = option types.str "nixos";
    # Of a VM test's node: where the others reach it.
    networking.primaryIPAddress = option types.str "192.168.1.1";
    networking.hosts = option (types.attrsOf strings) { };

    nix.settings = option types.anything { };
    nixpkgs.config = option types.anything { };
    nixpkgs.hostPlatform = option types.str "x86_64-linux";
    nixpkgs.overlays = option (types.listOf types.unspecified) [ ];

    programs.ssh.extraConfig = option types.lines "";
    programs.ssh.knownHosts = option types.anything { };

    security.pki.certificateFiles = option (types.listOf types.path) [ ];
    security.polkit.enable = option types.bool false;
    security.sudo.wheelNeedsPassword = option types.bool true;

    services.openssh.enable = option types.bool false;
    services.openssh.settings = option types.anything { };
    services.xserver.videoDrivers = option strings [ ];

    specialisation = named {
      configuration = option types.unspecified { };
    };

    system.build = option (types.attrsOf types.unspecified) { };
    system.etc.overlay.enable = option types.bool false;
    system.etc.overlay.mutable = option types.bool true;
    system.stateVersion = option types.str "26.05";

    time.timeZone = option (types.nullOr types.str) null;

    users.groups = named {
      gid = option (types.nullOr types.int) null;
      members = option strings [ ];
    };
    users.users = named {
      description = option types.str "";
      extraGroups = option strings [ ];
      group = option types.str "";
      hashedPassword = option (types.nullOr types.str) null;
      home = option types.path "/var/empty";
      isNormalUser = option types.bool false;
      isSystemUser = option types.bool false;
      openssh.authorizedKeys.keyFiles = option (types.listOf types.path) [ ];
      openssh.authorizedKeys.keys = option strings [ ];
    };

    virtualisation.cores = option types.int 1;
    virtualisation.diskSize = option types.int 1024;
    virtualisation.memorySize = option types.int 1024;
    virtualisation.writableStore = option types.bool false;
  };

  config.networking.hosts."127.0.0.2" =
    lib.optional (config.networking.domain != null) "${config.networking.hostName}.${toString config.networking.domain}"
    ++ [ config.networking.hostName ];
}
