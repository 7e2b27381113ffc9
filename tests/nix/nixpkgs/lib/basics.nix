# Lists, attribute sets, and what is neither.
{ lib }:
let
  inherit (builtins)
    attrNames
    elem
    foldl'
    isAttrs
    listToAttrs
    removeAttrs
    ;
in
rec {
  inherit (builtins)
    add
    all
    any
    attrNames
    attrValues
    compareVersions
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    fromJSON
    functionArgs
    genList
    hasAttr
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    partition
    pathExists
    readFile
    removeAttrs
    sort
    tail
    toJSON
    trace
    tryEval
    ;

  id = x: x;
  const = x: _: x;
  flip =
    f: a: b:
    f b a;
  pipe = foldl' (value: f: f value);
  fix =
    f:
    let
      x = f x;
    in
    x;
  min = x: y: if x < y then x else y;
  max = x: y: if x > y then x else y;
  importJSON = path: fromJSON (readFile path);
  warn = message: builtins.trace "warning: ${message}";
  warnIf = condition: message: if condition then warn message else id;
  throwIf = condition: message: if condition then throw message else id;
  throwIfNot = condition: throwIf (!condition);
  assertMsg = condition: message: condition || throw message;

  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  singleton = value: [ value ];
  toList = value: if builtins.isList value then value else [ value ];
  init = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);
  reverseList = foldl' (done: value: [ value ] ++ done) [ ];
  last = list: builtins.elemAt list (builtins.length list - 1);
  unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];
  subtractLists = gone: builtins.filter (value: !elem value gone);
  range = first: end: builtins.genList (n: first + n) (max 0 (end - first + 1));
  flatten = value: if builtins.isList value then builtins.concatMap flatten value else [ value ];
  findFirst =
    matches: default: list:
    let
      found = builtins.filter matches list;
    in
    if found == [ ] then default else builtins.head found;
  imap1 = f: list: builtins.genList (n: f (n + 1) (builtins.elemAt list n)) (builtins.length list);
  groupBy = builtins.groupBy;
  foldr =
    f: start: list:
    if list == [ ] then start else f (builtins.head list) (foldr f start (builtins.tail list));

  optionalAttrs = condition: set: if condition then set else { };
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  genAttrs' = names: f: listToAttrs (map f names);
  mapAttrs' = f: set: listToAttrs (mapAttrsToList f set);
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  attrsToList = mapAttrsToList nameValuePair;
  concatMapAttrs = f: set: mergeAttrsList (mapAttrsToList f set);
  mergeAttrsList = foldl' (a: b: a // b) { };
  filterAttrs = keep: set: removeAttrs set (builtins.filter (name: !keep name set.${name}) (attrNames set));
  getAttrs = names: set: genAttrs names (name: set.${name});
  attrByPath =
    path: default: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${builtins.head path} then
      attrByPath (builtins.tail path) default set.${builtins.head path}
    else
      default;
  hasAttrByPath = path: set: attrByPath path lib set != lib;
  getAttrFromPath = path: attrByPath path (throw "there is no attribute ${lib.showOption path}");
  setAttrByPath = path: value: foldr (name: inner: { ${name} = inner; }) value path;
  recursiveUpdate =
    left: right:
    left
    // builtins.mapAttrs (
      name: value:
      if isAttrs value && isAttrs (left.${name} or null) && !(lib.isDerivation value) then
        recursiveUpdate left.${name} value
      else
        value
    ) right;
  mapAttrsRecursive =
    f:
    let
      go = path: builtins.mapAttrs (name: v: if isAttrs v then go (path ++ [ name ]) v else f (path ++ [ name ]) v);
    in
    go [ ];
  mapAttrsRecursiveCond =
    inside: f:
    let
      go =
        path:
        builtins.mapAttrs (
          name: v: if isAttrs v && inside v then go (path ++ [ name ]) v else f (path ++ [ name ]) v
        );
    in
    go [ ];
  collect =
    matches: set:
    if matches set then
      [ set ]
    else if isAttrs set then
      builtins.concatMap (collect matches) (builtins.attrValues set)
    else
      [ ];
  composeExtensions =
    f: g: final: prev:
    let
      once = f final prev;
    in
    once // g final (prev // once);
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";
}
