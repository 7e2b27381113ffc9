# The options of services.rbee as a list, for docs/nixos-options.md (python -m tools.nixos_options).
{ lib, nixosSystem }:
let
  declared =
    (nixosSystem {
      system = "x86_64-linux";
      modules = [ ./module.nix ];
    }).options.services.rbee;
  text = value: value.text or value;
  shown = value: {
    text = text value;
    code = (value._type or "") != "literalMD";
  };
in
map (
  option:
  {
    inherit (option) name type readOnly;
    description = text option.description;
  }
  // lib.optionalAttrs (option ? default) { default = shown option.default; }
  // lib.optionalAttrs (option ? example) { example = shown option.example; }
) (lib.filter (option: option.visible && !option.internal) (lib.optionAttrSetToDocList declared))
