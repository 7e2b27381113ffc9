# Sources by name: really copied, and nothing but the named files and folders.
{ lib }:
let
  paths = set: if builtins.isList set then builtins.concatMap paths set else [ set ];
in
{
  unions = sets: builtins.concatMap paths sets;
  maybeMissing = path: if builtins.pathExists path then [ path ] else [ ];
  toSource =
    { root, fileset }:
    let
      wanted = map (
        path:
        if builtins.pathExists path then toString path else throw "lib.fileset: ${toString path} does not exist"
      ) (paths fileset);
      inside = path: folder: path == folder || lib.hasPrefix "${folder}/" path;
      filtered = builtins.path {
        path = root;
        name = "source";
        filter =
          path: _:
          builtins.any (want: inside path want || inside want path) wanted
          && builtins.baseNameOf path != "__pycache__";
      };
    in
    {
      _type = "source";
      outPath = filtered;
      inherit (lib.nameValuePair "source" null) name;
    };
}
