# rbee.toml: what the options say, what you say yourself, and rbee's own word on whether it is right.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.rbee;
  toml = pkgs.formats.toml { };
  said = lib.filterAttrs (_: value: value != null);
  tables = lib.filterAttrs (_: table: table != { }) (lib.mapAttrs (_: said) cfg.settings);
  written = toml.generate "rbee.toml" tables;
  checked = pkgs.runCommand "rbee.toml" { preferLocalBuild = true; } ''
    cp ${written} rbee.toml
    ${lib.getExe' cfg.package "queen-rbee"} --check-config rbee.toml
    ${lib.getExe' cfg.package "pool-managerd"} --check-config rbee.toml
    cp rbee.toml $out
  '';
in
{
  options.services.rbee = {
    settings = lib.mkOption {
      # null: not said. TOML itself has no null.
      type = lib.types.attrsOf (lib.types.attrsOf (lib.types.nullOr toml.type));
      default = { };
      example = {
        worker.idle_s = 900;
        queen.queue_capacity = 500;
      };
      description = ''
        The whole of /etc/rbee/rbee.toml, table by table; `share/rbee/rbee.toml` of the package shows every key. What is
        said here wins over what the other options would write. Secrets do not belong into it: everybody may read it.
      '';
    };

    checkConfig = lib.mkOption {
      type = lib.types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalExpression "pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform";
      example = false;
      description = ''
        Let `queen-rbee --check-config` and `pool-managerd --check-config` read rbee.toml while the system is built, so
        that a wrong key or value ends the build and not a daemon. Not possible where the host that builds cannot run
        the package.
      '';
    };

    configFile = lib.mkOption {
      type = lib.types.path;
      readOnly = true;
      default = if cfg.checkConfig then checked else written;
      defaultText = lib.literalMD "made of `settings`";
      description = "The rbee.toml that was made.";
    };

    caFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = lib.literalExpression "./house-ca.crt";
      description = ''
        Who signed the certificates of this house's queen and pools, a PEM file. null: those that the system trusts.
      '';
    };
  };

  config = lib.mkIf (cfg.queen.enable || cfg.pool.enable || cfg.keeper.enable) {
    environment.etc."rbee/rbee.toml".source = cfg.configFile;
    services.rbee.settings = lib.mkIf (cfg.caFile != null) (
      lib.genAttrs [ "queen" "pool" "hive" "keeper" ] (_: { tls_ca = lib.mkDefault "${cfg.caFile}"; })
    );
  };
}
