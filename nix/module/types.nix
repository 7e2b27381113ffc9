# Types with the bounds of rbee/config/settings.py and rbee/wire/workers.py, so that a wrong value is found at evaluation.
{ lib }:
let
  inherit (lib) types;
  ipv4 = "([0-9]{1,3}\\.){3}[0-9]{1,3}";
  ipv6 = "[0-9a-fA-F:.]*:[0-9a-fA-F:.]*";
  host = "[^[:space:]/,]+";
in
{
  # A text, so that Nix does not copy the file it names; and not in the store, where the copy would be for all to read.
  secret =
    types.addCheck types.str (path: lib.hasPrefix "/" path && !(lib.hasPrefix builtins.storeDir path))
    // {
      description = "absolute path of a file on the host, in quotes, and not in the Nix store, which everybody may read";
    };
  address = types.strMatching "${ipv4}|${ipv6}" // {
    description = "IP address";
  };
  url = types.strMatching "https?://${host}(/[^[:space:],]*)?" // {
    description = "URL, http://host:port or https://host:port";
  };
  digest = types.strMatching "sha256:[0-9a-f]{64}" // {
    description = "sha256: and 64 hex digits";
  };
  sri = types.strMatching "sha256-[A-Za-z0-9+/]{43}=" // {
    description = "hash as Nix prints it, sha256-…=";
  };
  hex = types.strMatching "[0-9a-f]{64}" // {
    description = "64 hex digits";
  };
  repository = types.strMatching "[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+" // {
    description = "repository on the hub, organisation/name";
  };
  gguf = types.strMatching "[^/].*\\.gguf" // {
    description = "path of a .gguf file in the repository";
  };
  backend = types.enum [
    "cpu"
    "cuda"
    "rocm"
    "vulkan"
  ];
  idle = types.ints.between 1 (30 * 86400);

  # An option that may be left out, and says nothing then.
  optional =
    type: example: description:
    lib.mkOption {
      type = types.nullOr type;
      default = null;
      inherit example description;
    };

  isName = name: builtins.match "[a-z0-9][a-z0-9._-]{0,62}" name != null;
}
