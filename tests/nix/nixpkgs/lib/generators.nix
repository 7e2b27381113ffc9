# Values as text.
{ lib }:
let
  # On one line, or with each item on a line of its own.
  block =
    {
      multiline ? false,
    }:
    open: close: items:
    if items == [ ] then
      "${open} ${close}"
    else if multiline then
      "${open}\n${lib.concatMapStrings (item: "  ${indented item}\n") items}${close}"
    else
      "${open} ${lib.concatStringsSep " " items} ${close}";
  indented = builtins.replaceStrings [ "\n" ] [ "\n  " ];
  toPretty =
    options: value:
    if builtins.isString value then
      builtins.toJSON value
    else if builtins.isAttrs value && (value._type or null) == "literalExpression" then
      value.text
    else if lib.isDerivation value then
      "<derivation ${value.name}>"
    else if builtins.isAttrs value then
      block options "{" "}" (lib.mapAttrsToList (k: v: "${k} = ${toPretty options v};") value)
    else if builtins.isList value then
      block options "[" "]" (map (toPretty options) value)
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
