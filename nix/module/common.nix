# What all of rbee on a host shares: the package, its units and users, the fleet token.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (import ./types.nix { inherit lib; }) secret;
  cfg = config.services.rbee;
  daemons = cfg.queen.enable || cfg.pool.enable;
  made = "/etc/rbee/token";
  etc = config.system.etc.overlay;
in
{
  options.services.rbee = {
    package = lib.mkPackageOption pkgs "rbee" { example = [ "rbee-cuda" ]; };

    tokenFile = lib.mkOption {
      type = lib.types.nullOr secret;
      default = null;
      example = "/run/secrets/rbee-token";
      description = ''
        The fleet token, a file that only root may read (mode 0400 or 0600), the same on all hosts: queen and pools show
        it to each other. It is brought to the host by what brings your other secrets. rbee finds it through a link,
        /etc/rbee/token; a new one is taken over by `systemctl reload rbee-queen rbee-pool`.

        null: the first start makes /etc/rbee/token, which no other host knows. Where you copy that file to the other
        hosts yourself, say so: `tokenFile = "/etc/rbee/token"`.
      '';
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = ''
        Let others through the firewall to what is served beyond loopback: the queen's port, the pool's port, and the
        ports of its workers, since the queen reads their answers from them.
      '';
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (daemons || cfg.keeper.enable) {
      environment.systemPackages = [ cfg.package ];
    })

    (lib.mkIf daemons {
      systemd.packages = [ cfg.package ];
      systemd.tmpfiles.packages = [ cfg.package ];

      # Those of units/rbee.sysusers.
      users.users.rbee = {
        description = "rbee pool manager";
        group = "rbee";
        home = "/var/lib/rbee";
        isSystemUser = true;
      };
      users.groups.rbee = { };
      users.groups.rbee-token = { };

      environment.etc = lib.mkIf (cfg.tokenFile != null && cfg.tokenFile != made) {
        "rbee/token".source = cfg.tokenFile;
      };

      assertions = [
        {
          assertion = etc.enable && !etc.mutable -> cfg.tokenFile != null && !(lib.hasPrefix "/etc/" cfg.tokenFile);
          message = ''
            services.rbee.tokenFile: /etc cannot be written on this host (system.etc.overlay.mutable is false), so no
            token can be made in it. Bring one to the host and name it: services.rbee.tokenFile = "/run/secrets/rbee-token";
          '';
        }
      ];
    })
  ];
}
