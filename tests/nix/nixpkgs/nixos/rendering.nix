# systemd.units: the text of each unit, or of its drop-in where a package ships it, written as NixOS writes it.
{ config, lib, pkgs, ... }:
let
  inherit (lib) concatMapStrings optionalAttrs optionalString;
  word = value: if value == true then "true" else if value == false then "false" else toString value;
  lines =
    directives:
    lib.concatStrings (
      lib.mapAttrsToList (
        key: value: concatMapStrings (each: "${key}=${word each}\n") (if lib.isList value then value else [ value ])
      ) directives
    );
  # A file whose name changes with what it holds: that is all a switch looks at.
  trigger =
    kind: name: values:
    optionalAttrs (values != [ ]) {
      "X-${kind}-Triggers" = "${pkgs.writeText "X-${kind}-Triggers-${name}" (toString values)}";
    };
  listed =
    key: values:
    optionalAttrs (values != [ ]) { ${key} = toString values; };
  unitSection =
    name: unit:
    "[Unit]\n"
    + lines (
      unit.unitConfig
      // optionalAttrs (unit.description != "") { Description = unit.description; }
      // listed "Documentation" unit.documentation
      // listed "Requires" unit.requires
      // listed "Wants" unit.wants
      // listed "After" unit.after
      // listed "Before" unit.before
      // listed "PartOf" unit.partOf
      // listed "BindsTo" unit.bindsTo
      // listed "Conflicts" unit.conflicts
      // trigger "Restart" name (unit.restartTriggers or [ ])
      // trigger "Reload" name (unit.reloadTriggers or [ ])
    );
  install = unit: optionalString (unit.wantedBy != [ ]) "\n[Install]\nWantedBy=${toString unit.wantedBy}\n";
  tools = [ "coreutils" "findutils" "gnugrep" "gnused" ];
  environment =
    unit:
    {
      PATH = lib.concatStringsSep ":" (
        map (package: "${package}/bin") (unit.path ++ map (name: pkgs.${name}) tools ++ [ config.systemd.package ])
      );
    }
    // unit.environment;
  variables =
    values:
    lib.concatStrings (
      lib.mapAttrsToList (
        name: value: optionalString (value != null) "Environment=${builtins.toJSON "${name}=${toString value}"}\n"
      ) values
    );
  service =
    name: unit:
    unitSection name unit
    + "\n[Service]\n"
    + variables (environment unit)
    + (
      if unit.reloadIfChanged then
        "X-ReloadIfChanged=true\n"
      else
        optionalString (!unit.restartIfChanged) "X-RestartIfChanged=false\n"
    )
    + optionalString (!unit.stopIfChanged) "X-StopIfChanged=false\n"
    + optionalString unit.notSocketActivated "X-NotSocketActivated=true\n"
    + lines unit.serviceConfig
    + install unit;
  socket =
    name: unit:
    unitSection name unit
    + "\n[Socket]\n"
    + lines unit.socketConfig
    + lines { ListenStream = unit.listenStreams; }
    + install unit;
  slice = name: unit: unitSection name unit + "\n[Slice]\n" + lines unit.sliceConfig + install unit;
  target = name: unit: unitSection name unit + install unit;
  rendered =
    kind: text: units:
    lib.mapAttrs' (
      name: unit:
      lib.nameValuePair "${name}.${kind}" {
        inherit (unit) enable overrideStrategy wantedBy requiredBy;
        text = text name unit;
      }
    ) units;
in
{
  config.systemd.units =
    rendered "service" service config.systemd.services
    // rendered "socket" socket config.systemd.sockets
    // rendered "slice" slice config.systemd.slices
    // rendered "target" target config.systemd.targets;
}
