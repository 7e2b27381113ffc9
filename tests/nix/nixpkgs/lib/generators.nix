# Values as text.
{ lib }:
let
  toPretty =
    options: value:
    if builtins.isString value then
      builtins.toJSON value
    else if builtins.isAttrs value && (value._type or null) == "literalExpression" then
      value.text
    else if lib.isDerivation value then
      "<derivation ${value.name}>"
    else if builtins.isAttrs value then
      if value == { } then "{ }" else "{ ${lib.concatStrings (lib.mapAttrsToList (k: v: "${k} = ${toPretty options v}; ") value)}}"
    else if builtins.isList value then
      if value == [ ] then "[ ]" else "[ ${lib.concatMapStringsSep " " (toPretty options) value} ]"
    else if builtins.isFunction value then
      "<function>"
    else if builtins.isPath value then
      toString value
    else if value == null then
      "null"
    else
      builtins.toJSON value;
in
{
  inherit toPretty;
}
