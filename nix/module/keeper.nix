# services.rbee.keeper: where a person types rbee, and which hosts that knows.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  own = import ./types.nix { inherit lib; };
  places = import ./places.nix { inherit lib; };
  cfg = config.services.rbee;
  keeper = cfg.keeper;

  host.options = {
    ssh = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[^-[:space:]][^[:space:]]*");
      default = null;
      example = "root@workstation.home.arpa";
      description = "What ssh is given: a name of your ssh configuration, or user@host. null: the name of the table.";
    };
    sudo = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Run commands there through `sudo -n`, for those who do not log in as root.";
    };
    pool = lib.mkOption {
      type = lib.types.nullOr own.url;
      default = null;
      example = "http://workstation.home.arpa:9200";
      description = "Where its pool listens, for `--http`.";
    };
  };
in
{
  options.services.rbee.keeper = {
    enable = lib.mkEnableOption "the commands rbee-keeper and rbee, and what they know of the house";

    queen = lib.mkOption {
      type = lib.types.nullOr (lib.types.either own.url (lib.types.listOf own.url));
      default = if cfg.queen.enable then places.here cfg.queen else null;
      defaultText = lib.literalMD "the queen of this host, if it has her";
      example = "http://blep.home.arpa:8080";
      description = "The queen. Of several, one of whom reigns, all.";
    };

    hosts = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule host);
      default = { };
      example = {
        workstation.ssh = "root@workstation.home.arpa";
      };
      description = ''
        The hosts that `rbee pool … --host` knows. /etc/rbee/rbee.toml is read-only here, so `rbee pool register` cannot
        add one to it.
      '';
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf (pkgs.formats.toml { }).type;
      default = { };
      example.token_file = "/run/secrets/rbee-token";
      description = "More keys of the table [keeper] of rbee.toml.";
    };
  };

  config = lib.mkMerge [
    # Root types rbee on the queen's host, too.
    (lib.mkIf (keeper.enable || cfg.queen.enable || cfg.pool.enable) {
      services.rbee.settings.keeper = lib.mkMerge [
        { queen = lib.mkDefault (if keeper.queen == null then null else lib.concatStringsSep ", " (lib.toList keeper.queen)); }
        keeper.settings
      ];
    })
    (lib.mkIf keeper.enable {
      services.rbee.settings.hosts = lib.mkIf (keeper.hosts != { }) (
        lib.mapAttrs (
          _: host:
          lib.mapAttrs (_: lib.mkDefault) (
            lib.filterAttrs (_: value: value != null && value != false) { inherit (host) ssh sudo pool; }
          )
        ) keeper.hosts
      );
      assertions = lib.mapAttrsToList (name: _: {
        assertion = own.isName name && name != "all";
        message = "services.rbee.keeper.hosts: \"${name}\" is no name for a host. A name is [a-z0-9][a-z0-9._-]*, at most 63 characters, and not \"all\".";
      }) keeper.hosts;
    })
  ];
}
