# `nix run .#queen-rbee`, and so for each program; `nix run .#demo` shows all of it at work.
{ lib, pkgs, ... }:
let
  inherit (pkgs) rbee;
  programs = {
    queen-rbee = "orchestrator daemon";
    pool-managerd = "daemon of a host: workers, models and GPUs";
    rbee-hive = "a host's own command";
    rbee-keeper = "the operator's command";
    rbee = "the operator's command, by its short name";
    llm-worker-rbee = "one worker; a pool starts it";
    bdd-runner = "runs the features";
    rbee-broker = "starts workers for user rbee; systemd starts it";
  };
  app = program: description: {
    type = "app";
    inherit program;
    meta = { inherit description; };
  };
in
lib.mapAttrs (name: app (lib.getExe' rbee name)) programs
// {
  default = app (lib.getExe rbee) programs.rbee-keeper;
  demo = app (lib.getExe (pkgs.callPackage ./demo.nix { })) "from nothing to tokens in your own user manager, and back to nothing";
}
