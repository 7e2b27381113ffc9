# A queen and keeper on one host, a pool on another: the token is carried over, ssh reaches it, verify finds it fit, and a
# rollout takes it through a restart.
{ self }:
let
  common = {
    imports = [ self.nixosModules.default ];
    virtualisation.cores = 2;
    virtualisation.memorySize = 2048;
    services.rbee = {
      # The script copies it, as a person without a tool for secrets does.
      tokenFile = "/etc/rbee/token";
      openFirewall = true;
    };
  };
in
{
  name = "rbee-house";
  # runNixOSTest gives all nodes one pkgs and makes nixpkgs.overlays read-only; our module sets that option.
  node.pkgsReadOnly = false;

  nodes.blep = {
    imports = [ common ];
    services.rbee = {
      queen.enable = true;
      queen.listen = "0.0.0.0";
      keeper.enable = true;
      keeper.hosts.workstation.ssh = "root@workstation";
    };
  };

  nodes.workstation =
    { config, ... }:
    {
      imports = [ common ];
      services.openssh.enable = true;
      services.rbee = {
        pool.enable = true;
        pool.listen = "0.0.0.0";
        pool.url = "http://${config.networking.primaryIPAddress}:9200";
        pool.queen = "http://blep:8080";
        workers.small = {
          backend = "cpu";
          model = "smollm2";
        };
      };
    };

  testScript = ''
    import json


    def pool() -> dict:
        found = {each["id"]: each for each in json.loads(blep.succeed("rbee pool list --format json"))}
        return found.get("workstation", {})


    start_all()
    blep.wait_for_unit("rbee-queen.socket")
    workstation.wait_for_unit("rbee-pool.socket")
    workstation.wait_for_unit("sshd.service")

    with subtest("ssh goes there"):
        blep.succeed("mkdir -m 700 -p /root/.ssh && ssh-keygen -q -t ed25519 -N ''' -f /root/.ssh/id_ed25519")
        key = blep.succeed("cat /root/.ssh/id_ed25519.pub").strip()
        workstation.succeed(f"mkdir -m 700 -p /root/.ssh && echo '{key}' >> /root/.ssh/authorized_keys")
        blep.wait_until_succeeds("ssh-keyscan workstation >> /root/.ssh/known_hosts && test -s /root/.ssh/known_hosts")
        blep.succeed("rbee pool exec --host workstation -- true")

    with subtest("with a token of its own the queen does not take it"):
        blep.wait_for_file("/etc/rbee/token")
        workstation.wait_for_file("/etc/rbee/token")
        workstation.wait_until_succeeds("journalctl -u rbee-pool.service | grep -q 'heartbeat.failed code=unauthorized'")
        assert pool() == {}, pool()

    with subtest("with the queen's it is taken at a reload"):
        token = blep.succeed("cat /etc/rbee/token").strip()
        workstation.succeed(f"umask 077; echo '{token}' > /etc/rbee/token; systemctl reload rbee-pool.service")
        blep.wait_until_succeeds("rbee pool list --format json | grep -q '\"ready\"'")
        assert pool()["state"] == "ready", pool()

    with subtest("a job goes there, and its tokens come back"):
        workstation.wait_until_succeeds("systemctl is-active rbee-worker-small.service", timeout=300)
        said = blep.succeed("rbee jobs submit --model smollm2 --prompt 'What is a llama?' --max-tokens 8 --ignore-eos")
        assert said.strip(), "no token came"

    with subtest("the firewall lets nobody to anything else"):
        blep.succeed("nc -z workstation 9200")
        # Somebody else's port: it is served, and nothing of rbee opened it.
        workstation.succeed("systemd-run --unit=other $(type -P nc) -lk 9201")
        workstation.wait_until_succeeds("nc -z 127.0.0.1 9201")
        blep.fail("nc -z -w 2 workstation 9201")

    with subtest("verify finds it fit"):
        # A VM test's machine was never installed, so it has no profile to boot from.
        workstation.succeed("mkdir -p /nix/var/nix/profiles && ln -sfn $(readlink -f /run/current-system) /nix/var/nix/profiles/system")
        code, report = blep.execute("rbee pool verify --host workstation")
        print(report)
        assert code == 0, "verify found something, see above"

    with subtest("a rollout drains it, restarts it, verifies it and lets it work again"):
        before = workstation.succeed("systemctl show --value -p MainPID rbee-pool.service")
        blep.succeed("rbee pool rollout --host workstation -- ssh root@{host} systemctl restart rbee-pool.service")
        assert workstation.succeed("systemctl show --value -p MainPID rbee-pool.service") != before
        assert pool()["state"] == "ready", pool()

    with subtest("a rollout that fails leaves it drained, and says how to go on"):
        code, said = blep.execute("rbee pool rollout --host workstation -- false 2>&1")
        print(said)
        assert code != 0
        assert "--resume" in said, said
        assert pool()["state"] == "draining", pool()
        blep.succeed("rbee pool undrain workstation")
        blep.wait_until_succeeds("rbee pool list --format json | grep -q '\"ready\"'")

    with subtest("a pool that goes is missed"):
        workstation.succeed("systemctl stop rbee-pool.socket rbee-pool.service")
        blep.wait_until_succeeds("rbee pool list --format json | grep -Eq '\"(lost|draining)\"'")
  '';
}
