# Types of options: what they accept, how several definitions become one, and what they are called in messages and
# docs. `class` says whether the name needs parentheses inside another's.
{ lib }:
let
  inherit (builtins)
    all
    any
    head
    isAttrs
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    ;

  mkType =
    {
      name,
      description ? name,
      class ? "noun",
      check,
      merge ? same,
      emptyValue ? { },
      getSubOptions ? _: { },
      nested ? null,
    }:
    {
      _type = "option-type";
      descriptionClass = class;
      inherit
        name
        description
        check
        merge
        emptyValue
        getSubOptions
        nested
        ;
    };

  # All definitions have to say the same.
  same =
    loc: definitions:
    let
      first = head definitions;
    in
    if all (d: d.value == first.value) definitions then
      first.value
    else
      throw "The option `${lib.showOption loc}' has conflicting definition values:${lib.showDefinitions definitions}";
  only =
    loc: definitions:
    if builtins.length definitions == 1 then
      (head definitions).value
    else
      throw "The option `${lib.showOption loc}' is defined multiple times while it's expected to be unique.${lib.showDefinitions definitions}";
  within =
    classes: type: if builtins.elem type.descriptionClass classes then type.description else "(${type.description})";
  phrase = within [
    "noun"
    "composite"
  ];
  alternative = within [
    "noun"
    "conjunction"
  ];
  simple =
    name: description: check:
    mkType { inherit name description check; };
  integer =
    name: description: check:
    simple name description (v: isInt v && check v);
  isStore = value: lib.isDerivation value || lib.isStorePath value;
in
rec {
  inherit mkType;
  inherit (lib) isOptionType;

  bool = simple "bool" "boolean" builtins.isBool;
  int = simple "int" "signed integer" isInt;
  float = simple "float" "floating point number" isFloat;
  number = either int float;
  ints = {
    unsigned = integer "unsignedInt" "unsigned integer, meaning >=0" (v: v >= 0);
    positive = integer "positiveInt" "positive integer, meaning >0" (v: v > 0);
    between =
      low: high:
      integer "intBetween" "integer between ${toString low} and ${toString high} (both inclusive)" (
        v: v >= low && v <= high
      );
    u8 = integer "unsignedInt8" "8 bit unsigned integer; between 0 and 255 (both inclusive)" (v: v >= 0 && v <= 255);
    u16 = integer "unsignedInt16" "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (
      v: v >= 0 && v <= 65535
    );
  };
  numbers.between =
    low: high:
    simple "numberBetween" "integer or floating point number between ${toString low} and ${toString high} (both inclusive)" (
      v: (isInt v || isFloat v) && v >= low && v <= high
    );
  port = ints.u16;

  str = simple "str" "string" isString;
  nonEmptyStr = simple "nonEmptyStr" "non-empty string" (v: isString v && builtins.match "[[:space:]]*" v == null);
  singleLineStr = simple "singleLineStr" "(optionally newline-terminated) single-line string" (
    v: isString v && builtins.match "[^\n\r]*\n?" v != null
  );
  strMatching =
    pattern:
    simple "strMatching ${builtins.toJSON pattern}" "string matching the pattern ${pattern}" (
      v: isString v && builtins.match pattern v != null
    );
  separatedString =
    separator:
    mkType {
      name = "separatedString";
      description = if separator == "" then "Concatenated string" else "strings concatenated with ${builtins.toJSON separator}";
      check = isString;
      merge = _: definitions: lib.concatMapStringsSep separator (d: d.value) definitions;
    };
  lines = separatedString "\n";
  commas = separatedString ",";
  path = simple "path" "absolute path" (v: lib.isStringLike v && lib.hasPrefix "/" (toString v));
  externalPath = simple "externalPath" "absolute path not in the Nix store" (
    v: path.check v && !(lib.hasPrefix builtins.storeDir (toString v))
  );
  pathInStore = simple "pathInStore" "path in the Nix store" (
    v: path.check v && lib.hasPrefix builtins.storeDir (toString v)
  );
  package = mkType {
    name = "package";
    check = isStore;
    merge = only;
  };
  raw = mkType {
    name = "raw";
    description = "raw value";
    check = _: true;
    merge = only;
  };
  unspecified = mkType {
    name = "unspecified";
    description = "unspecified value";
    check = _: true;
    merge = _: definitions: (lib.last definitions).value;
  };
  anything = mkType {
    name = "anything";
    check = _: true;
    merge =
      loc: definitions:
      let
        values = map (d: d.value) definitions;
      in
      if all (v: isAttrs v && !lib.isDerivation v) values then
        (lazyAttrsOf anything).merge loc definitions
      else if all isList values then
        builtins.concatLists values
      else
        same loc definitions;
  };

  enum =
    values:
    let
      show = v: if isString v then builtins.toJSON v else if builtins.isBool v then lib.boolToString v else toString v;
    in
    mkType {
      name = "enum";
      description = if builtins.length values == 1 then "value ${show (head values)} (singular enum)" else "one of ${lib.concatMapStringsSep ", " show values}";
      class = if builtins.length values < 2 then "noun" else "conjunction";
      check = v: builtins.elem v values;
    };
  nullOr =
    inner:
    mkType {
      name = "nullOr";
      description = "null or ${alternative inner}";
      class = "conjunction";
      check = v: v == null || inner.check v;
      merge =
        loc: definitions:
        if all (d: d.value == null) definitions then
          null
        else if any (d: d.value == null) definitions then
          throw "The option `${lib.showOption loc}' is defined both null and not null.${lib.showDefinitions definitions}"
        else
          inner.merge loc definitions;
      emptyValue.value = null;
      inherit (inner) getSubOptions;
      nested = inner;
    };
  either =
    left: right:
    mkType {
      name = "either";
      description = "${alternative left} or ${
        within [
          "noun"
          "conjunction"
          "composite"
        ] right
      }";
      class = "conjunction";
      check = v: left.check v || right.check v;
      merge =
        loc: definitions:
        let
          fits = type: all (d: type.check d.value) definitions;
        in
        if fits left then
          left.merge loc definitions
        else if fits right then
          right.merge loc definitions
        else
          same loc definitions;
    };
  oneOf = types: builtins.foldl' either (head types) (builtins.tail types);
  coercedTo =
    from: coerce: to:
    to
    // {
      name = "coercedTo";
      description = "${phrase to} or ${phrase from} convertible to it";
      check = v: (from.check v && to.check (coerce v)) || to.check v;
      merge =
        loc: definitions:
        to.merge loc (map (d: d // { value = if from.check d.value then coerce d.value else d.value; }) definitions);
    };
  addCheck = type: check: type // { check = v: type.check v && check v; };
  uniq = type: type // { merge = only; };
  unique = _: uniq;

  listOf =
    inner:
    mkType {
      name = "listOf";
      description = "list of ${phrase inner}";
      class = "composite";
      check = isList;
      merge =
        loc: definitions:
        let
          items = lib.concatMap (d: map (value: d // { inherit value; }) d.value) definitions;
          merged = lib.imap1 (n: d: lib.mergeDefinitions (loc ++ [ "[definition ${toString n}-entry 1]" ]) inner [ d ]) items;
        in
        map (found: found.value) (builtins.filter (found: found.isDefined) merged);
      emptyValue.value = [ ];
      getSubOptions = prefix: inner.getSubOptions (prefix ++ [ "*" ]);
      nested = inner;
    };
  nonEmptyListOf = inner: addCheck (listOf inner) (v: v != [ ]) // { description = "non-empty list of ${phrase inner}"; };
  attrsOf =
    inner:
    mkType {
      name = "attrsOf";
      description = "attribute set of ${phrase inner}";
      class = "composite";
      check = v: isAttrs v;
      merge =
        loc: definitions:
        let
          names = lib.unique (lib.concatMap (d: builtins.attrNames d.value) definitions);
          of = name: lib.concatMap (d: lib.optional (d.value ? ${name}) (d // { value = d.value.${name}; })) definitions;
          merged = lib.genAttrs names (name: lib.mergeDefinitions (loc ++ [ name ]) inner (of name));
        in
        builtins.mapAttrs (_: found: found.value) (lib.filterAttrs (_: found: found.isDefined) merged);
      emptyValue.value = { };
      getSubOptions = prefix: inner.getSubOptions (prefix ++ [ "<name>" ]);
      nested = inner;
    };
  lazyAttrsOf = inner: attrsOf inner // { name = "lazyAttrsOf"; description = "lazy attribute set of ${phrase inner}"; };
  attrs = attrsOf unspecified // { name = "attrs"; description = "attribute set"; class = "noun"; };

  submodule = modules: submoduleWith { modules = lib.toList modules; shorthandOnlyDefinesConfig = true; };
  submoduleWith =
    {
      modules,
      specialArgs ? { },
      shorthandOnlyDefinesConfig ? false,
      description ? null,
    }:
    let
      evaluate = prefix: more: lib.evalModules { inherit prefix specialArgs; modules = modules ++ more; };
      base = evaluate [ ] [ { _module.args.name = "<name>"; } ];
      freeform = base.freeformType;
    in
    mkType {
      name = "submodule";
      description =
        if description != null then
          description
        else if freeform == null then
          "submodule"
        else
          "open submodule of ${phrase freeform}";
      class = null;
      check = v: isAttrs v || isFunction v || isPath v;
      merge =
        loc: definitions:
        (evaluate loc (
          map (
            d:
            if isAttrs d.value && shorthandOnlyDefinesConfig then
              {
                _file = d.file;
                config = d.value;
              }
            else
              { _file = d.file; imports = [ d.value ]; }
          ) definitions
          ++ [ { _module.args.name = lib.last loc; } ]
        )).config;
      emptyValue.value = { };
      getSubOptions =
        prefix:
        (evaluate prefix [ { _module.args.name = lib.last prefix; } ]).options
        // lib.optionalAttrs (freeform != null) { _freeformOptions = freeform.getSubOptions prefix; };
    };
  deferredModule = raw;
  functionTo =
    inner:
    mkType {
      name = "functionTo";
      description = "function that evaluates to a(n) ${phrase inner}";
      class = "composite";
      check = isFunction;
      merge = loc: definitions: argument: inner.merge loc (map (d: d // { value = d.value argument; }) definitions);
    };
}
