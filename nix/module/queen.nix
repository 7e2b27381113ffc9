# services.rbee.queen: who takes jobs, and finds them a worker.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  own = import ./types.nix { inherit lib; };
  places = import ./places.nix { inherit lib; };
  daemon = import ./daemon.nix { inherit lib; };
  cfg = config.services.rbee;
  queen = cfg.queen;
  # What she takes over by a reload (rbee/queen/daemon.py), or what her socket decides; all else takes a restart.
  reloaded = [
    "bind"
    "callers"
    "cors_origins"
    "policy"
    "strategy"
  ];
in
{
  options.services.rbee.queen =
    daemon.options {
      name = "queen";
      port = 8080;
      host = "blep";
      reachedAt = "http://blep.home.arpa:8080";
    }
    // {
      enable = lib.mkEnableOption "queen-rbee, the orchestrator: one of a house has her";

      settings = lib.mkOption {
        type = lib.types.attrsOf (pkgs.formats.toml { }).type;
        default = { };
        example = {
          queue_capacity = 500;
          queue_policy = "drop-lru";
        };
        description = "More keys of the table [queen] of rbee.toml.";
      };

      policy = lib.mkOption {
        type = lib.types.nullOr lib.types.path;
        default = null;
        example = lib.literalExpression "./night-batch.star";
        description = ''
          A script that has a say in where jobs go (docs/policy.md). Checked while the system is built when it is a file
          of yours, and at the start of the queen when it is a path on the host.
        '';
      };

      callers = lib.mkOption {
        type = lib.types.attrsOf own.digest;
        default = { };
        example.ann = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        description = ''
          Callers that may submit jobs and see their own, and nothing else, each with the sum of its key
          (`printf %s KEY | sha256sum`).
        '';
      };

      databasePasswordFile = lib.mkOption {
        type = lib.types.nullOr own.secret;
        default = null;
        example = "/run/secrets/rbee-database";
        description = ''
          The password for PostgreSQL, a file that only root may read. The database itself is
          `settings.database = "postgresql://rbee@db.home.arpa/rbee"`.
        '';
      };
    };

  config = lib.mkMerge [
    (lib.mkIf queen.enable (
      lib.mkMerge [
        (daemon.config {
          unit = "rbee-queen";
          option = "services.rbee.queen";
          part = queen;
          inherit (cfg) configFile tokenFile openFirewall;
          settings = cfg.settings.queen;
          systemd = config.systemd.package;
        })
        {
          services.rbee.settings.queen = lib.mkMerge [
            {
              bind = lib.mkDefault (places.socket queen);
              url = lib.mkDefault queen.url;
              pools = lib.mkDefault (lib.optional cfg.pool.enable (places.here cfg.pool));
              policy = lib.mkDefault (if queen.policy == null then null else "${queen.policy}");
              callers = lib.mkIf (queen.callers != { }) queen.callers;
            }
            queen.settings
          ];
          systemd.services.rbee-queen = {
            restartTriggers = [
              (builtins.hashString "sha256" (builtins.toJSON (removeAttrs cfg.settings.queen reloaded)))
            ];
            serviceConfig.LoadCredential = lib.optional (
              queen.databasePasswordFile != null
            ) "database-password:${queen.databasePasswordFile}";
          };
          assertions = [
            {
              assertion = lib.all own.isName (lib.attrNames queen.callers);
              message = "services.rbee.queen.callers: a name is [a-z0-9][a-z0-9._-]*, at most 63 characters.";
            }
          ];
        }
      ]
    ))
    # Her units are in the package whether she is wanted or not. Masked they are stopped by a switch, and not restarted
    # without their drop-ins.
    (lib.mkIf (cfg.pool.enable && !queen.enable) {
      systemd.sockets.rbee-queen.enable = false;
      systemd.services.rbee-queen.enable = false;
    })
  ];
}
