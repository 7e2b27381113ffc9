# What packages say about themselves.
{ lib }:
{
  getExe =
    package:
    "${package}/bin/${
      package.meta.mainProgram or (throw "${package.name} does not say its mainProgram")
    }";
  getExe' = package: name: "${package}/bin/${name}";
  getBin = package: package;
  getLib = package: package;
  getDev = package: package;
  getName = package: package.pname or package.name;
  getVersion = package: package.version;
  lowPrio = package: package;
  licenses = lib.genAttrs [ "asl20" "bsd3" "mit" "lgpl21Plus" "lgpl3Plus" "mpl20" "psfl" ] (name: {
    shortName = name;
  });
  sourceTypes = lib.genAttrs [ "binaryNativeCode" "fromSource" ] (shortName: { inherit shortName; });
  maintainers = { };
  platforms.linux = [
    "x86_64-linux"
    "aarch64-linux"
  ];
  systems.examples = { };
}
