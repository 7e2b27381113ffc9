# How options are declared, and how they are listed for the docs.
{ lib }:
rec {
  mkOption = fields: fields // { _type = "option"; };
  mkEnableOption =
    what:
    mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${what}.";
    };
  mkPackageOption =
    pkgs: name:
    {
      default ? name,
      example ? null,
      nullable ? false,
      pkgsText ? "pkgs",
      extraDescription ? "",
    }:
    let
      path = lib.toList default;
      type = lib.types.package;
    in
    mkOption {
      type = if nullable then lib.types.nullOr type else type;
      default = if default == null then null else lib.getAttrFromPath path pkgs;
      defaultText = if default == null then literalExpression "null" else literalExpression "${pkgsText}.${showOption path}";
      description = "The ${name} package to use." + lib.optionalString (extraDescription != "") " ${extraDescription}";
    }
    // lib.optionalAttrs (example != null) { example = literalExpression "${pkgsText}.${showOption (lib.toList example)}"; };

  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
  literalMD = text: {
    _type = "literalMD";
    inherit text;
  };
  mdDoc = lib.id;

  isOption = value: (value._type or null) == "option";
  showOption = lib.concatMapStringsSep "." (
    part: if builtins.match "[a-zA-Z_][a-zA-Z0-9_'-]*|<.*>|[*]" part != null then part else builtins.toJSON part
  );

  optionAttrSetToDocList = optionAttrSetToDocList' null;
  optionAttrSetToDocList' =
    _: options:
    lib.concatMap (
      option:
      let
        inner = lib.optionals (option ? type) (
          optionAttrSetToDocList (builtins.removeAttrs (option.type.getSubOptions option.loc) [ "_module" ])
        );
        listed = {
          inherit (option) loc;
          name = showOption option.loc;
          description = option.description or null;
          declarations = option.declarations or [ ];
          internal = option.internal or false;
          visible = option.visible or true != false;
          readOnly = option.readOnly or false;
          type = option.type.description or "unspecified";
        }
        // lib.optionalAttrs (option ? example) { example = renderOptionValue option.example; }
        // lib.optionalAttrs (option ? defaultText || option ? default) {
          default = renderOptionValue (option.defaultText or option.default);
        };
      in
      [ listed ] ++ lib.optionals (option.visible or true == true) inner
    ) (lib.collect isOption options);
  renderOptionValue =
    value: if (value._type or null) != null && value ? text then value else literalExpression (lib.generators.toPretty { multiline = true; } value);
}
