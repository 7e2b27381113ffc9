# systemd.*: what a unit may say.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  strings = types.listOf types.str;
  scalar = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
    types.package
  ];
  directives = types.attrsOf (types.either scalar (types.listOf scalar));
  common = {
    enable = option types.bool true;
    overrideStrategy = option (types.enum [
      "asDropinIfExists"
      "asDropin"
    ]) "asDropinIfExists";
    description = option types.str "";
    documentation = option strings [ ];
    requires = option strings [ ];
    wants = option strings [ ];
    after = option strings [ ];
    before = option strings [ ];
    partOf = option strings [ ];
    bindsTo = option strings [ ];
    conflicts = option strings [ ];
    wantedBy = option strings [ ];
    requiredBy = option strings [ ];
    unitConfig = option directives { };
  };
  triggers = {
    restartTriggers = option (types.listOf types.unspecified) [ ];
    reloadTriggers = option (types.listOf types.unspecified) [ ];
  };
  service.options =
    common
    // triggers
    // {
      environment = option (types.attrsOf (types.nullOr (types.oneOf [ types.str types.path types.package ]))) { };
      path = option (types.listOf types.unspecified) [ ];
      serviceConfig = option directives { };
      restartIfChanged = option types.bool true;
      reloadIfChanged = option types.bool false;
      stopIfChanged = option types.bool true;
      notSocketActivated = option types.bool false;
    };
  socket.options = common // {
    listenStreams = option strings [ ];
    socketConfig = option directives { };
  };
  slice.options = common // {
    sliceConfig = option directives { };
  };
  named = module: option (types.attrsOf (types.submodule module)) { };
in
{
  options.systemd = {
    package = option types.package pkgs.systemd;
    packages = option (types.listOf types.package) [ ];
    services = named service;
    sockets = named socket;
    slices = named slice;
    targets = named { options = common; };
    units = option (types.attrsOf types.unspecified) { };
    tmpfiles.packages = option (types.listOf types.package) [ ];
    tmpfiles.settings = option (types.attrsOf (
      types.attrsOf (
        types.attrsOf (
          types.submodule {
            options = lib.genAttrs [ "mode" "user" "group" "age" "argument" ] (_: option types.str "-");
          }
        )
      )
    )) { };
  };
}
