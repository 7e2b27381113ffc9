# Derivations, with the host's bash as the builder of all of them.
{ lib, system, host, pkgs }:
let
  searched = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
  phases = [
    "unpackPhase"
    "patchPhase"
    "configurePhase"
    "buildPhase"
    "installPhase"
    "fixupPhase"
    "installCheckPhase"
  ];
  named = arguments: if arguments ? name then arguments.name else "${arguments.pname}-${arguments.version}";
  outside = [
    "meta"
    "passthru"
    "nativeBuildInputs"
    "buildInputs"
    "propagatedBuildInputs"
    "nativeCheckInputs"
  ];
  derive =
    arguments:
    let
      inputs = lib.concatMap (name: arguments.${name} or [ ]) [
        "nativeBuildInputs"
        "buildInputs"
        "nativeCheckInputs"
      ];
      made = derivation (
        builtins.removeAttrs arguments outside
        // {
          name = named arguments;
          inherit system;
          builder = "/bin/bash";
          args = [ ./builder.sh ];
          PATH = lib.concatStringsSep ":" (map (input: "${input}/bin") inputs ++ [ searched ]);
          outputs = arguments.outputs or [ "out" ];
        }
      );
    in
    made
    // {
      meta = arguments.meta or { };
      passthru = arguments.passthru or { };
      inherit (arguments) ;
    }
    // lib.optionalAttrs (arguments ? pname) { inherit (arguments) pname version; }
    // arguments.passthru or { };
in
rec {
  stdenv = {
    mkDerivation = arguments: derive (if builtins.isFunction arguments then lib.fix arguments else arguments);
    hostPlatform = {
      inherit system;
      isLinux = true;
      isx86_64 = system == "x86_64-linux";
      isAarch64 = system == "aarch64-linux";
    };
    buildPlatform = stdenv.hostPlatform // {
      canExecute = other: other.system == system;
    };
    cc.cc.lib = pkgs.emptyDirectory;
  };
  stdenvNoCC = stdenv;
  inherit (stdenv) mkDerivation;

  runCommand =
    name: environment: buildCommand:
    derive (environment // { inherit name buildCommand; });
  runCommandLocal = runCommand;
  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      meta ? { },
    }:
    derive {
      inherit name text meta;
      passAsFile = [ "text" ];
      target = destination;
      mode = if executable then "755" else "644";
      buildCommand = ''install -D -m "$mode" "$textPath" "$out$target"'';
    };
  writeText = name: text: writeTextFile { inherit name text; };
  writeShellScript =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      text = "#!/bin/bash\n${text}";
    };
  writeShellScriptBin =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = "#!/bin/bash\n${text}";
      meta.mainProgram = name;
    };
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      meta ? { },
    }:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = ''
        #!/bin/bash
        set -o errexit -o nounset -o pipefail
        export PATH="${lib.makeBinPath runtimeInputs}:$PATH"
        ${text}
      '';
      meta = meta // {
        mainProgram = name;
      };
    };
  symlinkJoin =
    {
      name,
      paths,
      postBuild ? "",
    }:
    runCommand name { inherit paths postBuild; } ''
      mkdir "$out"
      for path in $paths; do cp --recursive --symbolic-link --update=none "$path/." "$out/"; done
      eval "$postBuild"
    '';
  linkFarm =
    name: entries:
    runCommand name { } (
      "mkdir $out\n" + lib.concatMapStrings (entry: "mkdir -p $(dirname $out/${entry.name}); ln -s ${entry.path} $out/${entry.name}\n") (
        if builtins.isAttrs entries then lib.mapAttrsToList (name: path: { inherit name path; }) entries else entries
      )
    );
  emptyDirectory = runCommand "empty-directory" { } "mkdir $out";

  # Fetched by hash, where there is a network; the tests have none, so nothing they build may need one.
  fetchurl =
    {
      url,
      hash,
      name ? builtins.baseNameOf url,
      passthru ? { },
      ...
    }:
    derive {
      inherit name url passthru;
      outputHash = hash;
      outputHashMode = "flat";
      outputHashAlgo = null;
      buildCommand = ''echo "no network: $url cannot be fetched" >&2; exit 1'';
    };

  mkShell =
    arguments:
    derive {
      name = "shell";
      packages = map toString (arguments.packages or [ ]);
      buildCommand = "echo $packages > $out";
    };
  mkShellNoCC = mkShell;

  formats.toml = _: {
    # What TOML can hold, so no null. nixpkgs' own where lib is nixpkgs', and named as that is, for it stands in the docs.
    type =
      let
        value =
          lib.types.oneOf [
            lib.types.bool
            lib.types.int
            lib.types.float
            lib.types.str
            lib.types.path
            (lib.types.attrsOf value)
            (lib.types.listOf value)
          ]
          // {
            description = "TOML value";
          };
      in
      lib.types.toml or value;
    generate =
      name: value:
      runCommand name {
        value = builtins.toJSON value;
        passAsFile = [ "value" ];
      } ''
        ${pkgs.python3.interpreter} ${./toml.py} "$valuePath" "$out"
      '';
  };
}
