# The packages that rbee uses, by the names they have in nixpkgs. What is built is really built, by this host's bash
# and Python; what is only used (coreutils, git) is this host's own, linked into the store.
#
# `../host.json`, which the tests write into their copy of this folder, says where the host's Python is and which store
# path holds the Python packages. Without it everything evaluates, but Python programs do not build.
{
  lib,
  system,
  overlays ? [ ],
}:
let
  hostFile = ../host.json;
  host = {
    python = "/usr/bin/python3";
    pythonVersion = "3.11.2";
    packages = null;
  }
  // lib.optionalAttrs (builtins.pathExists hostFile) (lib.importJSON hostFile);

  callWith =
    scope: f: given:
    let
      function = if builtins.isFunction f then f else import f;
      asked = builtins.functionArgs function;
      missing = builtins.filter (name: !asked.${name} && !(scope ? ${name}) && !(given ? ${name})) (builtins.attrNames asked);
      call = more: function (builtins.intersectAttrs asked scope // given // more);
      made = call { };
    in
    if missing != [ ] then
      throw "Function called without required argument \"${builtins.head missing}\""
    else
      made
      // lib.optionalAttrs (lib.isDerivation made) {
        override = new: callWith scope f (given // (if builtins.isFunction new then new (scope // given) else new));
      };

  base = pkgs: {
    inherit lib system host;
    config.cudaSupport = false;
    path = ../.;
    callPackage = callWith pkgs;
    newScope = more: callWith (pkgs // more);
    extend = overlay: import ./. { inherit lib system; overlays = overlays ++ [ overlay ]; };
  }
  // import ./builders.nix { inherit lib system host pkgs; }
  // import ./host.nix { inherit lib pkgs; }
  // import ./python.nix { inherit lib system host pkgs callWith; }
  // import ./testers.nix { inherit lib system pkgs overlays; };
in
lib.fix (pkgs: builtins.foldl' (prev: overlay: prev // overlay pkgs prev) (base pkgs) overlays)
