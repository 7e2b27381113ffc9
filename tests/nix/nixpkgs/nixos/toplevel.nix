# system.build.toplevel: fails where an assertion does, in the words of NixOS, and else holds what was rendered.
{ config, lib, pkgs, ... }:
let
  failed = map (each: each.message) (lib.filter (each: !each.assertion) config.assertions);
  complaint = "\nFailed assertions:\n${lib.concatMapStrings (message: "- ${message}\n") failed}";
  warned = value: lib.foldr (message: lib.trace "warning: ${message}") value config.warnings;
  rendered = {
    units = lib.mapAttrs (_: unit: { inherit (unit) enable text; }) config.systemd.units;
    etc = lib.mapAttrs (_: file: { inherit (file) text mode; source = "${file.source}"; }) config.environment.etc;
    packages = map toString config.environment.systemPackages;
    unitPackages = map toString config.systemd.packages;
    inherit (config.networking) firewall;
    inherit (config.users) users groups;
    tmpfilesPackages = map toString config.systemd.tmpfiles.packages;
    tmpfiles = config.systemd.tmpfiles.settings;
    specialisations = lib.mapAttrs (_: special: "${special.system.build.toplevel}") config.system.build.specialisations;
  };
in
{
  config.system.build.toplevel =
    if failed != [ ] then
      throw complaint
    else
      warned (
        pkgs.runCommand "nixos-system-${config.networking.hostName}" {
          rendered = builtins.toJSON rendered;
          passAsFile = [ "rendered" ];
        } ''
          mkdir "$out"
          cp "$renderedPath" "$out/rendered.json"
        ''
      );
}
