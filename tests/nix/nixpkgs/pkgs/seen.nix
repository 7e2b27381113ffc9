# Python packages as they were seen in nixpkgs, by attribute: the version in one stored revision of
# pkgs/development/python-modules/NAME/default.nix, named by its commit. A lower bound of what the locked nixpkgs has.
{
  aiohttp = { version = "3.13.2"; commit = "00bc42126e63"; };
  docopt-ng = { version = "0.7.2"; commit = "14fd976016ae"; };
  gitpython = { version = "3.1.41"; commit = "0175b31e7c5e"; };
  httptools = { version = "0.4.0"; commit = "01f31c2ee7d0"; };
  httpx2 = { version = "2.4.0"; commit = "15ad0c06216d"; };
  huggingface-hub = { version = "0.35.0"; commit = "00c6d886b21c"; };
  llama-cpp-python = { version = "0.3.6"; commit = "07a0da74d66f"; };
  llguidance = { version = "1.7.0"; commit = "044b684b71e9"; };
  nvidia-ml-py = { version = "12.560.30"; commit = "047780873fac"; };
  peewee = { version = "3.15.0"; commit = "01f31c2ee7d0"; };
  prometheus-client = { version = "0.17.1"; commit = "05924f714f31"; };
  psycopg = { version = "3.1.3"; commit = "01c2632eccf3"; };
  pystemd = { version = "0.15.3"; commit = "0145c6da2896"; };
  pytest = { version = "8.2.2"; commit = "000b58721fef"; };
  pytest-testinfra = { version = "10.1.0"; commit = "161b3b010844"; };
  sanic = { version = "21.3.4"; commit = "037ad0cbfcb1"; };
  sdnotify = { version = "0.3.2"; commit = "055262b4d346"; };
  tomlkit = { version = "0.11.4"; commit = "03a362fe87d4"; };
}
