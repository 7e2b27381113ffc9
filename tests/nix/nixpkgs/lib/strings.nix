# Text, paths and versions.
{ lib }:
let
  inherit (builtins)
    concatStringsSep
    filter
    isString
    match
    replaceStrings
    split
    stringLength
    substring
    ;
in
rec {
  inherit (builtins)
    baseNameOf
    concatStringsSep
    dirOf
    match
    replaceStrings
    split
    stringLength
    substring
    typeOf
    ;

  concatStrings = concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep =
    separator: f: list:
    concatStringsSep separator (map f list);
  concatMapAttrsStringSep =
    separator: f: set:
    concatStringsSep separator (lib.mapAttrsToList f set);
  concatImapStringsSep =
    separator: f: list:
    concatStringsSep separator (lib.imap1 f list);
  concatLines = concatMapStrings (line: "${line}\n");
  optionalString = condition: text: if condition then text else "";
  hasPrefix = start: text: substring 0 (stringLength start) text == start;
  hasSuffix =
    end: text:
    let
      n = stringLength text - stringLength end;
    in
    n >= 0 && substring n (-1) text == end;
  hasInfix = part: text: length' (split (escapeRegex part) text) > 1;
  removePrefix = start: text: if hasPrefix start text then substring (stringLength start) (-1) text else text;
  removeSuffix =
    end: text:
    if hasSuffix end text then substring 0 (stringLength text - stringLength end) text else text;
  splitString = separator: text: filter isString (split (escapeRegex separator) text);
  escape = special: replaceStrings special (map (c: "\\${c}") special);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeShellArg =
    value:
    let
      text = toString value;
    in
    if match "[[:alnum:],._+:@%/-]+" text != null then
      text
    else
      "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  stringToCharacters = text: map (n: substring n 1 text) (lib.range 0 (stringLength text - 1));
  toUpper = replaceStrings (stringToCharacters lower) (stringToCharacters upper);
  toLower = replaceStrings (stringToCharacters upper) (stringToCharacters lower);
  trim =
    text:
    let
      found = match "[[:space:]]*(.*[^[:space:]])[[:space:]]*" text;
    in
    if found == null then "" else builtins.head found;
  boolToString = value: if value then "true" else "false";
  isStringLike = value: isString value || builtins.isPath value || value ? outPath || value ? __toString;
  isStorePath =
    value: isStringLike value && builtins.dirOf (toString value) == builtins.storeDir;
  versionAtLeast = version: wanted: builtins.compareVersions version wanted >= 0;
  versionOlder = version: wanted: builtins.compareVersions version wanted < 0;
  versions = {
    major = version: builtins.head (splitString "." version);
    majorMinor = version: concatStringsSep "." (lib.sublist 0 2 (splitString "." version));
  };
  sublist = start: count: list: map (builtins.elemAt list) (lib.range start (lib.min (start + count) (length' list) - 1));
  take = sublist 0;
  drop = count: list: sublist count (length' list) list;
  makeBinPath = lib.makeSearchPath "bin";
  makeLibraryPath = lib.makeSearchPath "lib";
  makeSearchPath = folder: paths: concatMapStringsSep ":" (path: "${path}/${folder}") paths;
  fixedWidthString =
    width: filler: text:
    if stringLength text < width then fixedWidthString width filler "${filler}${text}" else text;
  fixedWidthNumber = width: number: fixedWidthString width "0" (toString number);
  toInt = text: builtins.fromJSON text;
  fileContents = file: removeSuffix "\n" (builtins.readFile file);

  length' = builtins.length;
  lower = "abcdefghijklmnopqrstuvwxyz";
  upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
}
