# Whether a version is one that a specifier of setup.cfg allows: satisfies "3.14.5" ">=3.14".
{ lib }:
version: specifier:
let
  parts = builtins.match "(==|!=|>=|<=|~=|>|<)(.*)" specifier;
  operator = lib.elemAt parts 0;
  wanted = lib.elemAt parts 1;
  order = builtins.compareVersions version wanted;
  start = lib.removeSuffix ".*" wanted;
  alike = if start == wanted then version == wanted else version == start || lib.hasPrefix "${start}." version;
  release = lib.concatStringsSep "." (lib.init (lib.splitString "." wanted));
in
if parts == null then
  throw "rbee: what does ${specifier} mean?"
else
  {
    "==" = alike;
    "!=" = !alike;
    ">=" = order >= 0;
    "<=" = order <= 0;
    ">" = order > 0;
    "<" = order < 0;
    "~=" = order >= 0 && lib.hasPrefix "${release}." version;
  }
  .${operator}
