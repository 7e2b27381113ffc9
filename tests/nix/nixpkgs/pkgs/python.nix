# Python as nixpkgs has it: a bare interpreter, packages beside it, and programs whose wrappers know where those are.
#
# All packages that rbee depends on lie in one store path, the dependencies that `make install` uses. Which of them
# nixpkgs is taken to have, and how old, is in seen.nix; what a derivation here says of itself is evaluated in full.
{
  lib,
  system,
  host,
  pkgs,
  callWith,
}:
let
  version = lib.versions.majorMinor host.pythonVersion;
  sitePackages = "lib/python${version}/site-packages";
  packages =
    if host.packages == null then
      pkgs.emptyDirectory
    else
      builtins.path {
        name = "rbee-python-packages";
        inherit (host.packages) path sha256;
      };

  python3 =
    pkgs.runCommand "python3-${host.pythonVersion}" {
      interpreter = host.python;
      # Like a virtual environment: the host's standard library, and none of the host's packages.
      passthru = {
        inherit sitePackages;
        pythonVersion = version;
        executable = "python${version}";
        interpreter = "${python3}/bin/python3";
        pkgs = python3Packages;
        withPackages = choose: environment (choose python3Packages);
      };
      meta.mainProgram = "python3";
    } ''
      mkdir -p "$out/bin" "$out/${sitePackages}"
      ln -s "$interpreter" "$out/bin/python3"
      ln -s python3 "$out/bin/python${version}"
      printf 'home = %s\ninclude-system-site-packages = false\n' "$(dirname "$interpreter")" > "$out/pyvenv.cfg"
    '';

  # The interpreter with those packages and all that they need.
  environment =
    chosen:
    pkgs.runCommand "python3-${host.pythonVersion}-env" {
      folders = map (each: "${each}/${sitePackages}") (closure chosen);
      meta.mainProgram = "python3";
    } ''
      mkdir "$out"
      cp --recursive ${python3}/. "$out/"
      chmod -R u+w "$out"
      ln -s python3 "$out/bin/python"
      printf '%s\n' $folders > "$out/${sitePackages}/packages.pth"
    '';
  closure =
    chosen:
    map (each: each.value) (
      builtins.genericClosure {
        startSet = map entry chosen;
        operator = each: map entry each.value.dependencies;
      }
    );
  entry = value: {
    key = value.pname;
    inherit value;
  };

  # A package holds its own distribution, linked out of the one path.
  module =
    {
      pname,
      version,
      dependencies ? [ ],
      said ? "",
      passthru ? { },
      meta ? { },
    }:
    pkgs.runCommand "python${python3.pythonVersion}-${pname}-${version}" {
      inherit said meta;
      passthru = {
        inherit pname version dependencies;
        pythonModule = python3;
      }
      // passthru;
    } ''
      mkdir -p "$out/${sitePackages}"
      ${python3.interpreter} ${./distribution.py} ${packages} ${pname} "$out/${sitePackages}"
    '';

  # Evaluates all that the real one would be told; nothing is fetched, for the distribution is here already.
  buildPythonPackage = {
    __functor = _: build;
    override = _: build;
  };
  build =
    given:
    let
      arguments = if builtins.isFunction given then lib.fix given else given;
      shaped =
        if (arguments.format or null) == "wheel" || arguments.pyproject or false then
          arguments
        else
          throw "${arguments.pname}: neither pyproject nor a wheel";
    in
    module {
      inherit (shaped) pname version;
      dependencies = shaped.dependencies or [ ];
      said = builtins.unsafeDiscardStringContext (
        builtins.toJSON {
          source = "${shaped.src}";
          inputs = map toString (
            shaped.build-system or [ ] ++ shaped.nativeBuildInputs or [ ] ++ shaped.buildInputs or [ ]
          );
          phases = lib.filterAttrs (name: _: lib.hasPrefix "post" name || lib.hasPrefix "pre" name) shaped;
          env = shaped.env or { };
        }
      );
      passthru = {
        inherit (shaped) src;
        imports = shaped.pythonImportsCheck or [ ];
      }
      // shaped.passthru or { };
      meta = shaped.meta or { };
    };

  buildPythonApplication =
    arguments:
    pkgs.stdenv.mkDerivation (
      builtins.removeAttrs arguments [
        "dependencies"
        "build-system"
        "optional-dependencies"
        "pyproject"
        "pythonImportsCheck"
        "pythonRelaxDeps"
        "pythonRemoveDeps"
        "makeWrapperArgs"
      ]
      // {
        inherit packages sitePackages;
        folders = map (each: "${each}/${sitePackages}") (closure (arguments.dependencies or [ ]));
        dependencies = builtins.toJSON (
          map (each: { inherit (each) pname version; }) (arguments.dependencies or [ ])
        );
        removed = builtins.toJSON (arguments.pythonRemoveDeps or [ ]);
        passAsFile = [ "dependencies" ];
        interpreter = python3.interpreter;
        wrapping = lib.concatStringsSep " " (arguments.makeWrapperArgs or [ ]);
        imports = arguments.pythonImportsCheck or [ ];
        buildPhase = ''
          export PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1
          "$interpreter" -m pip --quiet --disable-pip-version-check wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .
        '';
        installPhase = ''
          "$interpreter" -m pip --quiet --disable-pip-version-check install --root-user-action ignore \
            --no-deps --no-index --no-compile --prefix "$out" dist/*.whl
          "$interpreter" ${./requirements.py} dist/*.whl "$dependenciesPath" "$removed"
          unset PYTHONPATH
        '';
        fixupPhase = ". ${./wrap.sh}";
        installCheckPhase = ''
          cd /
          for name in $imports; do
            "$interpreter" -c "import site, sys; [site.addsitedir(folder) for folder in sys.argv[1:]]; import $name" \
              "$out/$sitePackages" $folders
          done
        '';
      }
    )
    // {
      inherit (arguments) pname version;
      pythonModule = false;
      dependencies = arguments.dependencies or [ ];
    };

  seen = builtins.mapAttrs (
    pname: found:
    module {
      inherit pname;
      inherit (found) version;
      dependencies = map (name: python3Packages.${name}) (found.requires or [ ]);
    }
  ) (import ./seen.nix);
  tools = lib.genAttrs [ "setuptools" "cython" "scikit-build-core" "pathspec" "pyproject-metadata" "pip" ] (
    pname:
    module {
      inherit pname;
      version = "80";
    }
  );

  python3Packages = lib.fix (
    set:
    tools
    // seen
    // {
      inherit buildPythonPackage buildPythonApplication;
      python = python3;
      callPackage = callWith (pkgs // set);
      toPythonApplication = package: package;
      fetchPypi =
        {
          pname,
          version,
          hash,
          format ? "setuptools",
          extension ? "tar.gz",
          dist ? "py2.py3",
          python ? "py2.py3",
          abi ? "none",
          platform ? "any",
        }:
        pkgs.fetchurl {
          inherit hash;
          url =
            if format == "wheel" then
              "pypi:${dist}/${pname}-${version}-${python}-${abi}-${platform}.whl"
            else
              "pypi:${pname}-${version}.${extension}";
          name = if format == "wheel" then "${pname}-${version}-${python}-${abi}-${platform}.whl" else "${pname}-${version}.${extension}";
        };
    }
  );
in
{
  inherit python3 python3Packages;
  # Where python3 is newer: the one before it.
  python313Packages =
    if lib.versionAtLeast version "3.14" then
      (import ./python.nix {
        inherit lib system pkgs callWith;
        host = host // { pythonVersion = "3.13.0"; };
      }).python3Packages
    else
      python3Packages;
  inherit (python3Packages) fetchPypi;
}
