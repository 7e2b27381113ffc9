# One host: a declared worker comes up by itself and gives tokens, and nothing of rbee has more rights than it needs.
{ self }:
{
  name = "rbee-single-host";
  # runNixOSTest gives all nodes one pkgs and makes nixpkgs.overlays read-only; our module sets that option.
  node.pkgsReadOnly = false;

  nodes.machine = {
    imports = [ self.nixosModules.default ];
    virtualisation.cores = 2;
    virtualisation.memorySize = 3072;

    services.rbee = {
      queen.enable = true;
      pool.enable = true;
      pool.workerSlice.memoryMax = "2G";
      keeper.enable = true;
      workers.small = {
        backend = "cpu";
        model = "smollm2";
        slots = 2;
      };
    };
  };

  testScript = ''
    import json

    TOKEN = "$(cat /etc/rbee/token)"


    def shown(unit: str, prop: str) -> str:
        return machine.succeed(f"systemctl show --value -p {prop} {unit}").strip()


    def user_of(unit: str) -> str:
        return machine.succeed(f"ps -o user:32= -p {shown(unit, 'MainPID')}").strip()


    def api(route: str) -> list[dict]:
        return json.loads(machine.succeed(f"curl -fsS -H \"Authorization: Bearer {TOKEN}\" http://127.0.0.1:8080{route}"))


    machine.wait_for_unit("multi-user.target")
    machine.wait_for_unit("rbee-queen.service")
    machine.wait_for_unit("rbee-pool.service")

    with subtest("the first start made a token, for root alone"):
        assert machine.succeed("stat -c '%a %U' /etc/rbee/token").split() == ["600", "root"]
        machine.fail("runuser -u nobody -- cat /etc/rbee/token")
        machine.succeed("grep -q . /etc/rbee/rbee.toml")
        machine.fail(f"grep -qFe \"{TOKEN}\" /etc/rbee/rbee.toml")

    with subtest("the declared worker comes up"):
        # wait_for_unit would not wait for a unit that is only made later.
        machine.wait_until_succeeds("systemctl is-active rbee-worker-small.service", timeout=300)
        workers = json.loads(machine.succeed("rbee-hive worker list --format json"))
        assert [worker["id"] for worker in workers] == ["small"], workers
        assert workers[0]["slots"] == 2, workers

    with subtest("it gives tokens, by the command and by OpenAI's API"):
        machine.wait_until_succeeds("rbee-keeper pool list --format json | grep -q ready")
        said = machine.succeed("rbee jobs submit --model smollm2 --prompt 'What is a llama?' --max-tokens 8 --ignore-eos")
        assert said.strip(), "no token came"
        answer = json.loads(
            machine.succeed(
                f"curl -fsS -H \"Authorization: Bearer {TOKEN}\" -H 'Content-Type: application/json' "
                "-d '{\"model\": \"smollm2\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"max_tokens\": 8}' "
                "http://127.0.0.1:8080/v1/chat/completions"
            )
        )
        assert answer["usage"]["completion_tokens"] > 0, answer

    with subtest("a worker is spawned by hand beside it, and stopped"):
        machine.succeed("rbee-hive worker spawn cpu --model smollm2 --id extra")
        assert sorted(worker["id"] for worker in api("/v2/workers")) == ["extra", "small"]
        machine.succeed("rbee-hive worker stop extra --yes")
        machine.wait_until_fails("systemctl is-active rbee-worker-extra.socket")

    with subtest("no daemon runs as root, and a worker as nobody else's user"):
        assert user_of("rbee-pool.service") == "rbee"
        assert user_of("rbee-queen.service") == "rbee-queen"
        pid = shown("rbee-worker-small.service", "MainPID")
        uid = int(machine.succeed(f"stat -c %u /proc/{pid}"))
        assert 61184 <= uid <= 65519, f"uid {uid} is none of systemd's dynamic users"
        assert shown("rbee-worker-small.service", "Slice") == "rbee-workers.slice"
        assert shown("rbee-workers.slice", "MemoryMax") == str(2 << 30)

    with subtest("the units are confined, by systemd's own measure"):
        # In tenths of its points; measured 1.3, 1.8 and 0.9 with systemd 252.
        machine.succeed("systemd-analyze security --threshold=25 rbee-queen.service")
        machine.succeed("systemd-analyze security --threshold=25 rbee-pool.service")
        machine.succeed("systemd-analyze security --threshold=20 rbee-broker.service")

    with subtest("without the token nothing is told"):
        code = machine.succeed("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/v2/pools").strip()
        assert code == "401", code

    with subtest("a pool that is killed comes back, and its worker did not notice"):
        before = shown("rbee-worker-small.service", "MainPID")
        machine.succeed("systemctl kill --signal=KILL rbee-pool.service")
        machine.wait_until_succeeds("rbee-hive worker list --format json | grep -q small")
        assert shown("rbee-worker-small.service", "MainPID") == before

    with subtest("after a boot all is there again"):
        machine.shutdown()
        machine.start()
        machine.wait_until_succeeds("systemctl is-active rbee-worker-small.service", timeout=300)
  '';
}
