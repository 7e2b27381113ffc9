# The functions of nixpkgs' lib that rbee uses, under the same names. A function that is missing here is a missing
# attribute in the tests, which is the point: whoever adds it has looked up whether nixpkgs has it.
let
  plain = map (file: import file { inherit lib; }) [
    ./basics.nix
    ./strings.nix
    ./meta.nix
    ./options.nix
    ./modules.nix
  ];
  lib = builtins.foldl' (found: more: found // more) { } plain // {
    types = import ./types.nix { inherit lib; };
    fileset = import ./fileset.nix { inherit lib; };
    generators = import ./generators.nix { inherit lib; };
  };
in
lib
