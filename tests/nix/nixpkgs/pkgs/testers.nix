# VM tests: every node is evaluated whole, and the script is compiled; no machine is booted.
{ lib, system, pkgs, overlays }:
let
  nixosSystem = import ../nixos { inherit lib; };
in
{
  testers.runNixOSTest =
    test:
    let
      given = if builtins.isPath test then import test else test;
      called = if builtins.isFunction given then given { inherit lib pkgs; hostPkgs = pkgs; config = { inherit nodes; }; } else given;
      readOnly = called.node.pkgsReadOnly or true;
      nodes = lib.mapAttrs (
        name: node:
        whole name
        (nixosSystem {
          inherit system;
          modules = [
            node
            called.defaults or { }
            { networking.hostName = lib.mkDefault name; }
            # What nixpkgs itself hands to a node is no definition of the node's.
            (if readOnly then { _module.args.pkgs = lib.mkForce pkgs; } else { nixpkgs = { inherit overlays; }; })
          ];
        }).config
      ) (called.nodes or { machine = called.machine; });
      whole =
        name: node:
        if readOnly && node.nixpkgs.overlays != [ ] then
          throw "The option `nodes.${name}.nixpkgs.overlays' is read-only, but it's set: node.pkgsReadOnly is true."
        else
          node;
      testScript = if builtins.isFunction called.testScript then called.testScript { inherit nodes; } else called.testScript;
    in
    pkgs.runCommand "vm-test-run-${called.name}" {
      inherit testScript;
      passAsFile = [ "testScript" ];
      systems = map (node: "${node.system.build.toplevel}") (builtins.attrValues nodes);
      passthru = {
        inherit nodes testScript;
        config = called;
      };
      meta = called.meta or { };
    } ''
      ${pkgs.host.python} -c 'import sys; compile(open(sys.argv[1]).read(), "testScript", "exec")' "$testScriptPath"
      cp "$testScriptPath" "$out"
    '';
}
