# The bus of systemd, compiled against nixpkgs' systemd; PyPI has its source only.
{
  common,
  python3Packages,
  pkg-config,
  systemd,
}:
python3Packages.buildPythonPackage (
  common
  // {
    pyproject = true;
    build-system = [
      python3Packages.setuptools
      python3Packages.cython
    ];
    nativeBuildInputs = [ pkg-config ];
    buildInputs = [ systemd ];
    pythonImportsCheck = [ "pystemd" ];
  }
)
