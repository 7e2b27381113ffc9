# The demo with this package instead of one that `make demo` would build: your own user manager, and back to nothing.
{
  writeShellApplication,
  bash,
  coreutils,
  gnused,
  systemd,
  rbee,
}:
writeShellApplication {
  name = "rbee-demo";
  runtimeInputs = [
    bash
    coreutils
    gnused
    systemd
  ];
  text = ''
    export RBEE_PACKAGE=${rbee} RBEE_CLIENT=${
      rbee.python3Packages.python.withPackages (_: [ rbee.python.openai ])
    }
    exec bash ${../tools/demo} "$@"
  '';
  meta.description = "rbee from nothing to tokens, on systemd";
}
