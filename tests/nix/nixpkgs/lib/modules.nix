# Modules: imports collected, definitions pushed down to the options they are for, and merged there by priority.
{ lib }:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    foldl'
    head
    isAttrs
    isFunction
    isPath
    isString
    mapAttrs
    removeAttrs
    ;
  unknownFile = "<unknown-file>";
  marker = fields: name: fields // { _type = name; };

  # One module, whatever its shape, as imports, options and config.
  normal =
    { given, named }@arguments: file: module:
    if isPath module || isString module then
      normal arguments (toString module) (import module)
    else if isFunction module then
      normal arguments file (
        module (mapAttrs (name: _: given.${name} or (named name)) (builtins.functionArgs module) // given)
      )
    else
      let
        shaped = module ? config || module ? options;
        inMeta = [
          "_file"
          "key"
          "imports"
          "disabledModules"
          "freeformType"
          "meta"
        ];
        stray = filter (
          name:
          !(builtins.elem name (
            inMeta
            ++ [
              "config"
              "options"
              "_class"
              "_module"
            ]
          ))
        ) (attrNames module);
      in
      if shaped && stray != [ ] then
        throw "Module `${module._file or file}' has an unsupported attribute `${head stray}'. This is caused by introducing a top-level `config' or `options' attribute. Add configuration attributes immediately on the top level instead, or move all of them (namely: ${toString stray}) into the explicit `config' attribute."
      else
        {
          file = module._file or file;
          imports = module.imports or [ ];
          options = module.options or { };
          freeformType = module.freeformType or null;
          config = if shaped then module.config or { } else removeAttrs module inMeta;
        };

  # mkIf, mkMerge and mkOverride around a set, moved inside it; conditions are not looked at.
  pushDown =
    value:
    let
      inside = wrap: concatMap (set: [ (mapAttrs (_: wrap) set) ]) (pushDown value.content);
      type = value._type or null;
    in
    if !isAttrs value then
      [ value ]
    else if type == "merge" then
      concatMap pushDown value.contents
    else if type == "if" then
      inside (lib.mkIf value.condition)
    else if type == "override" then
      inside (lib.mkOverride value.priority)
    else if type == "order" then
      inside (lib.mkOrder value.priority)
    else
      [ value ];

  # One definition without its wrapping: none, one or several of { value, priority, order, file }.
  discharge =
    definition:
    let
      inherit (definition) value;
      type = if isAttrs value then value._type or null else null;
      again = fields: discharge (definition // fields);
    in
    if type == "merge" then
      concatMap (content: again { value = content; }) value.contents
    else if type == "if" then
      if builtins.isBool value.condition then
        lib.optionals value.condition (again { value = value.content; })
      else
        throw "‘mkIf’ called with a non-Boolean condition"
    else if type == "override" then
      # Not looked into: what is overridden may not even evaluate, as the default of an option that is set.
      [
        (
          definition
          // {
            inherit (value) priority;
            value = value.content;
          }
        )
      ]
    else if type == "order" then
      again {
        order = value.priority;
        value = value.content;
      }
    else
      [ definition ];
in
rec {
  mkIf = condition: content: marker { inherit condition content; } "if";
  mkMerge = contents: marker { inherit contents; } "merge";
  mkOverride = priority: content: marker { inherit priority content; } "override";
  mkOptionDefault = mkOverride 1500;
  mkDefault = mkOverride 1000;
  mkImageMediaOverride = mkOverride 60;
  mkForce = mkOverride 50;
  mkVMOverride = mkOverride 10;
  mkOrder = priority: content: marker { inherit priority content; } "order";
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;
  defaultOverridePriority = 100;

  showDefinitions = lib.concatMapStrings (d: "\n- In `${d.file}': ${short d.value}");
  short =
    value:
    let
      text = lib.generators.toPretty { } value;
    in
    if builtins.stringLength text > 200 then "${builtins.substring 0 200 text}…" else text;
  isOptionType = value: (value._type or null) == "option-type";

  mergeDefinitions =
    loc: type: definitions:
    let
      discharged = concatMap discharge definitions;
      strongest = foldl' (found: d: lib.min found d.priority) 9999 discharged;
      kept = builtins.sort (a: b: a.order < b.order) (
        concatMap discharge (filter (d: d.priority == strongest) discharged)
      );
      wrong = filter (d: !type.check d.value) kept;
    in
    {
      isDefined = discharged != [ ];
      highestPrio = strongest;
      value =
        if wrong != [ ] then
          throw "A definition for option `${lib.showOption loc}' is not of type `${type.description}'. Definition values:${showDefinitions wrong}"
        else
          type.merge loc kept;
    };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      args ? { },
      class ? null,
    }@evaluation:
    let
      arguments = {
        given = { inherit lib config options; } // args // specialArgs;
        # Looked up late: which ones there are, only the modules say.
        named =
          name: fromModules.${name} or (throw "a module asks for the argument ${name}, which nobody gives");
      };
      # Modules before those that they import, and then all turned round, as nixpkgs has them: lists are merged in that order.
      collect =
        level:
        let
          found = map (each: normal arguments each.file each.module) level;
          imported = concatMap (one: map (from one.file) one.imports) found;
        in
        if found == [ ] then [ ] else found ++ collect imported;
      from = file: module: { inherit file module; };
      collected = lib.reverseList (collect (map (from unknownFile) modules));
      freeforms = filter (type: type != null) (
        map (m: m.freeformType) collected
        ++ concatMap (m: lib.optional (m.config ? _module.freeformType) m.config._module.freeformType) collected
      );
      freeform = if freeforms == [ ] then null else head freeforms;
      fromModules = foldl' (found: m: found // m.config._module.args or { }) { } (
        filter (m: m.config ? _module) collected
      );
      definitions = concatMap (
        m:
        map (value: {
          inherit (m) file;
          inherit value;
        }) (pushDown (if isAttrs m.config then removeAttrs m.config [ "_module" ] else m.config))
      ) collected;
      declared = declare prefix (map (m: { inherit (m) file; value = m.options; }) collected);
      evaluated = evaluate prefix declared definitions freeform;
      inherit (evaluated) config options;
    in
    {
      inherit config options;
      freeformType = freeform;
      _module.args = fromModules;
      extendModules =
        more:
        evalModules (
          evaluation
          // {
            modules = modules ++ more.modules or [ ];
            specialArgs = specialArgs // more.specialArgs or { };
          }
        );
    };

  # Declarations of all modules as one tree.
  declare =
    loc: declarations:
    let
      names = lib.unique (concatMap (d: attrNames d.value) declarations);
      of = name: concatMap (d: lib.optional (d.value ? ${name}) (d // { value = d.value.${name}; })) declarations;
    in
    lib.genAttrs names (
      name:
      let
        here = of name;
        options = filter (d: lib.isOption d.value) here;
        at = loc ++ [ name ];
      in
      if options == [ ] then
        declare at here
      else if builtins.length here > 1 then
        throw "The option `${lib.showOption at}' in `${(head here).file}' is already declared in `${(builtins.elemAt here 1).file}'."
      else
        { type = lib.types.unspecified; }
        // (head options).value
        // {
          loc = at;
          declarations = [ (head options).file ];
        }
    );

  # Values and options of a tree of declarations.
  evaluate =
    loc: declared: definitions: freeform:
    let
      sets = concatMap (d: map (value: d // { inherit value; }) (pushDown d.value)) definitions;
      names = lib.unique (concatMap (d: attrNames d.value) sets);
      of = name: concatMap (d: lib.optional (d.value ? ${name}) (d // { value = d.value.${name}; })) sets;
      unknown = filter (name: !(declared ? ${name})) names;
      each = mapAttrs (
        name: declaration:
        if lib.isOption declaration then
          valued declaration (of name)
        else
          evaluate (loc ++ [ name ]) declaration (of name) null
      ) declared;
      known = mapAttrs (name: found: if found ? value then found.value else found.config) each;
      free = lib.genAttrs unknown (name: mergeDefinitions (loc ++ [ name ]) (freeform.nested or lib.types.anything) (map ready (of name)));
      undeclared = filter (name: lib.any (d: discharge (ready d) != [ ]) (of name)) unknown;
    in
    {
      options = mapAttrs (_: found: if found ? value then found.option else found.options) each;
      config =
        if freeform != null then
          mapAttrs (_: found: found.value) (lib.filterAttrs (_: found: found.isDefined) free) // known
        else if unknown == [ ] then
          known
        else if undeclared == [ ] then
          known
        else
          throw "The option `${lib.showOption (loc ++ [ (head undeclared) ])}' does not exist. Definition values:${showDefinitions (of (head undeclared))}";
    };

  ready = d: { priority = defaultOverridePriority; order = 1000; } // d;

  # What an option's definitions, or else its default, amount to.
  valued =
    option: definitions:
    let
      byDefault = lib.optional (option ? default) {
        file = "the default";
        value = mkOptionDefault option.default;
      };
      merged = mergeDefinitions option.loc option.type (map ready (definitions ++ byDefault));
      value =
        if merged.isDefined then
          merged.value
        else
          option.type.emptyValue.value
            or (throw "The option `${lib.showOption option.loc}' was accessed but has no value defined. Try setting the option.");
      applied = if option ? apply then option.apply value else value;
    in
    {
      value = applied;
      option = option // {
        inherit (merged) isDefined highestPrio;
        value = applied;
        files = map (d: d.file) definitions;
        definitions = map (d: d.value) definitions;
        __toString = _: lib.showOption option.loc;
      };
    };
}
