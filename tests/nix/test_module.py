"""services.rbee: what its options become, as rbee.toml, as drop-ins and on the host."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from rbee import config
from tests.nix.evaluating import ELSEWHERE, HASH, HUB, POOL, QUEEN, TOKEN, evaluate, rbee, toml, units

WORKSTATION = rbee(
    f"""
    {ELSEWHERE}
    openFirewall = true;
    pool.listen = "0.0.0.0";
    pool.gpus = [ "nvidia" ];
    pool.modelsDir = "/srv/models";
    pool.hfTokenFile = "/run/secrets/hub";
    pool.settings.gpu_limit_c = 83;
    pool.workerPorts = {{ from = 18001; to = 18099; }};
    pool.workerSlice = {{ memoryMax = "80%"; cpuQuota = 600; allowedCpus = "2-7"; }};
    pool.tls = {{ certFile = "/srv/tls/crt"; keyFile = "/srv/tls/key"; }};
    pool.url = "https://192.168.1.20:9200";
    models.chat = {{
      hub = {{ {HUB} }};
      ctx = 8192; slots = 4; kv = "q8_0"; backend = "cuda"; gpu = 0; gpuLayers = 20; idle = 600; priority = 10;
      pinned = true; keep = false;
    }};
    models.known = {{ hub = {{ {HUB} revision = "v1"; sha256 = "{"0" * 64}"; }}; fetch = false; }};
    models.mine.path = "/srv/models/mine.gguf";
    workers.chat = {{
      backend = "cuda"; model = "chat"; gpu = 1; memoryBytes = 1073741824; cpuPercent = 400; lazy = true;
    }};
    """
)


# What the options become


def test_the_options_of_a_pool_become_rbee_toml() -> None:
    said = tomllib.loads(toml(WORKSTATION).read_text())
    assert said["pool"] == {
        "bind": "0.0.0.0:9200",
        "gpu_limit_c": 83,
        "models_dir": "/srv/models",
        "queen": "http://blep.home.arpa:8080",
        "url": "https://192.168.1.20:9200",
        "worker_ports": "18001-18099",
    }
    assert said["hive"] == {"pool": "https://192.168.1.20:9200"}
    assert said["models"] == {
        "chat": {
            "repo": "org/name",
            "file": "x.gguf",
            "revision": "main",
            "fetch": True,
            "backend": "cuda",
            "ctx": 8192,
            "gpu": 0,
            "gpu_layers": 20,
            "idle_s": 600,
            "keep": False,
            "kv": "q8_0",
            "pinned": True,
            "priority": 10,
            "slots": 4,
        },
        "known": {"repo": "org/name", "file": "x.gguf", "revision": "v1", "sha256": "0" * 64},
        "mine": {"path": "/srv/models/mine.gguf"},
    }
    assert said["workers"] == {
        "chat": {
            "backend": "cuda",
            "model": "chat",
            "gpu": 1,
            "memory_bytes": 1 << 30,
            "cpu_percent": 400,
            "lazy": True,
        }
    }
    assert "queen" not in said


def test_the_options_of_a_queen_and_a_keeper_become_rbee_toml() -> None:
    house = rbee(
        f"""{QUEEN} {TOKEN} pool.enable = true; pool.port = 9300; caFile = "/etc/ssl/house.crt";
        queen.listen = "::1"; queen.port = 8081; queen.callers.ann = "sha256:{"0" * 64}";
        queen.policy = "/etc/mine.star"; keeper.enable = true; keeper.hosts.mac = {{ }};
        keeper.hosts.workstation = {{ ssh = "root@workstation"; sudo = true; }};
        """
    )
    said = tomllib.loads(toml(house).read_text())
    assert said["queen"] == {
        "bind": "[::1]:8081",
        "callers": {"ann": f"sha256:{'0' * 64}"},
        "policy": "/etc/mine.star",
        "pools": ["http://127.0.0.1:9300"],
        "tls_ca": "/etc/ssl/house.crt",
    }
    assert said["keeper"] == {"queen": "http://[::1]:8081", "tls_ca": "/etc/ssl/house.crt"}
    assert said["pool"]["queen"] == "http://[::1]:8081"
    assert said["hosts"] == {"workstation": {"ssh": "root@workstation", "sudo": True}, "mac": {}}


def test_rbee_itself_takes_what_the_options_become() -> None:
    assert config.check(str(toml(WORKSTATION))).workers["chat"].cpu_percent == 400


def test_settings_win_over_what_the_options_say() -> None:
    said = tomllib.loads(
        toml(rbee(f'{QUEEN} queen.settings.pools = [ "http://a:1" ]; settings.keeper.queen = null;')).read_text()
    )
    assert said["queen"]["pools"] == ["http://a:1"]
    assert "keeper" not in said


def test_several_queens_are_told_with_commas() -> None:
    said = tomllib.loads(
        toml(rbee(f'{POOL} keeper.enable = true; keeper.queen = [ "http://a:1" "http://b:1" ];')).read_text()
    )
    assert said["keeper"]["queen"] == "http://a:1, http://b:1"


def test_a_model_with_a_hash_lies_in_the_store_where_there_is_a_pool() -> None:
    model = f'models.chat.hub = {{ repo = "org/name"; file = "q4/x+y.gguf"; hash = "{HASH}"; }};'
    found = evaluate(f"(evaluated {rbee(POOL + model)}).services.rbee.settings.models.chat")
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-x-y\.gguf", found["path"])
    assert found.keys() == {"path"}
    found = evaluate(f"(evaluated {rbee('keeper.enable = true;' + model)}).services.rbee.settings.models.chat")
    assert found["repo"] == "org/name"
    assert "path" not in found


def test_a_split_model_lies_in_one_folder_of_the_store() -> None:
    hub = f'{{ repo = "org/name"; file = "q4/x-00001-of-00002.gguf"; hashes = [ "{HASH}" "{HASH}" ]; }}'
    found = evaluate(f"(evaluated {rbee(f'{POOL} models.chat.hub = {hub};')}).services.rbee.settings.models.chat.path")
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-rbee-model-chat/x-00001-of-00002\.gguf", found)


# Units


def test_drop_ins_say_what_the_options_decide_and_nothing_else() -> None:
    found = units(WORKSTATION)
    assert _lines(found, "rbee-pool.socket", "Socket") == ["ListenStream=", "ListenStream=0.0.0.0:9200"]
    service = _lines(found, "rbee-pool.service", "Service")
    assert [line for line in service if not line.startswith('Environment="PATH=')] == [
        'Environment="HF_TOKEN_PATH=%d/hugging-face"',
        'Environment="RBEE_WORKER_EXEC=/run/current-system/sw/bin/llm-worker-rbee"',
        "X-StopIfChanged=false",
        "LoadCredential=hugging-face:/run/secrets/hub",
        "LoadCredential=tls.crt:/srv/tls/crt",
        "LoadCredential=tls.key:/srv/tls/key",
        "ReadWritePaths=/srv/models",
    ]
    assert "RequiresMountsFor=/srv/models" in found["rbee-pool.service"]["text"]
    assert _lines(found, "rbee-workers.slice", "Slice") == ["AllowedCPUs=2-7", "CPUQuota=600%", "MemoryMax=80%"]
    assert found["rbee-pool.socket"]["wantedBy"] == found["rbee-broker.socket"]["wantedBy"] == ["sockets.target"]
    assert found["rbee-pool.service"]["wantedBy"] == ["multi-user.target"]


def test_an_address_of_its_own_may_come_up_after_the_socket() -> None:
    found = units(rbee(f'{POOL} pool.listen = "192.168.1.20";'))
    assert "FreeBind=true" in found["rbee-pool.socket"]["text"]
    assert "FreeBind" not in units(rbee(POOL))["rbee-pool.socket"]["text"]


def test_what_is_not_wanted_is_masked_so_that_a_switch_stops_it() -> None:
    queen = units(rbee(QUEEN))
    assert {name for name, unit in queen.items() if not unit["enable"]} == {
        "rbee-broker.service",
        "rbee-broker.socket",
        "rbee-pool.service",
        "rbee-pool.socket",
        "rbee-workers.slice",
    }
    pool = units(rbee(POOL))
    assert {name for name, unit in pool.items() if not unit["enable"]} == {"rbee-queen.service", "rbee-queen.socket"}
    assert pool["rbee-workers.slice"]["enable"]


BASE = f"{QUEEN} {POOL}"
OWN_TOKEN = "} // { tokenFile = null;"
OTHER_TOKEN = '} // { tokenFile = "/run/other";'


@pytest.mark.parametrize(
    ("change", "restarted", "reloaded"),
    [
        ('workers.a = { backend = "cpu"; model = "smollm2"; };', set(), {"rbee-pool", "rbee-queen"}),
        ('queen.policy = "/etc/mine.star";', set(), {"rbee-pool", "rbee-queen"}),
        ("queen.settings.queue_capacity = 7;", {"rbee-queen"}, {"rbee-pool", "rbee-queen"}),
        ("pool.settings.heartbeat_s = 1.0;", set(), {"rbee-pool", "rbee-queen"}),
        ('pool.settings.id = "other";', {"rbee-pool"}, {"rbee-pool", "rbee-queen"}),
        ("queen.port = 8081;", set(), {"rbee-pool", "rbee-queen", "rbee-queen-address"}),
        (OTHER_TOKEN, set(), {"rbee-pool", "rbee-queen"}),
        (OWN_TOKEN, {"rbee-pool", "rbee-queen"}, {"rbee-pool", "rbee-queen"}),
        ("pool.workerSlice.cpuWeight = 50;", set(), set()),
    ],
)
def test_a_change_reloads_where_that_is_enough(change: str, restarted: set[str], reloaded: set[str]) -> None:
    before, after = units(rbee(BASE)), units(rbee(BASE + change))
    daemons = ("rbee-pool", "rbee-queen", "rbee-queen-address", "rbee-pool-address")

    def changed(key: str) -> set[str]:
        return {
            name
            for name in daemons
            if _value(before[f"{name}.service"]["text"], key) != _value(after[f"{name}.service"]["text"], key)
        }

    assert changed("X-Restart-Triggers") == restarted
    assert changed("X-Reload-Triggers") == reloaded


def test_the_broker_reads_rbee_toml_when_it_is_asked_and_is_left_alone() -> None:
    before, after = units(rbee(BASE)), units(rbee(f"{BASE} settings.worker.idle_s = 900;"))
    assert before["rbee-broker.service"]["text"] == after["rbee-broker.service"]["text"]


def test_the_token_is_found_through_a_link_unless_it_lies_there_itself() -> None:
    found = evaluate(f"(evaluated {rbee(POOL)}).environment.etc")
    assert found["rbee/token"]["source"] == "/run/secrets/rbee-token"
    for own in (QUEEN, f'{QUEEN} tokenFile = "/etc/rbee/token";'):
        assert "rbee/token" not in evaluate(f"(evaluated {rbee(own)}).environment.etc")


def test_the_firewall_is_opened_to_what_is_served_beyond_loopback() -> None:
    def opened(body: str) -> tuple[list[int], list[Mapping[str, int]]]:
        found = evaluate(f"(evaluated {rbee(body)}).networking.firewall")
        return sorted(found["allowedTCPPorts"]), found["allowedTCPPortRanges"]

    everywhere = f'{QUEEN} {POOL} queen.listen = "0.0.0.0"; pool.listen = "::";'
    assert opened(everywhere) == ([], [])
    assert opened(f"openFirewall = true; {everywhere}") == ([8080, 9200], [{"from": 8001, "to": 8999}])
    assert opened(f"openFirewall = true; {QUEEN} {POOL}") == ([], [])


def test_the_hosts_part_of_a_gpu_is_set_up() -> None:
    driver = f'({{ imports = [ {WORKSTATION} ]; services.xserver.videoDrivers = [ "nvidia" ]; }})'
    found = evaluate(
        f"with evaluated {driver}; {{ graphics = hardware.graphics.enable; modules = boot.kernelModules; }}"
    )
    assert found == {"graphics": True, "modules": ["nvidia_uvm"]}
    none = evaluate(
        f"with evaluated {rbee(POOL)}; {{ graphics = hardware.graphics.enable; modules = boot.kernelModules; }}"
    )
    assert none == {"graphics": False, "modules": []}


def test_users_and_folders_are_those_of_the_package() -> None:
    found = evaluate(
        f"with evaluated {WORKSTATION}; {{ users = builtins.attrNames users.users;"
        " groups = builtins.attrNames users.groups; tmpfiles = systemd.tmpfiles.settings;"
        " packages = builtins.length systemd.tmpfiles.packages; }"
    )
    assert found["users"] == ["rbee"]
    assert found["groups"] == ["rbee", "rbee-token"]
    assert found["packages"] == 1
    folder = found["tmpfiles"]["rbee-models"]["/srv/models"]["d"]
    assert (folder["mode"], folder["user"], folder["group"]) == ("0755", "rbee", "rbee")


def test_a_host_that_has_none_of_it_gets_nothing() -> None:
    found = evaluate(
        "with evaluated { }; { inherit (systemd) packages services sockets; etc = environment.etc;"
        " users = users.users; inherit assertions; said = services.rbee.settings; }"
    )
    assert not any(found.values()), found


def _lines(found: Mapping[str, Mapping[str, Any]], unit: str, section: str) -> list[str]:
    _, _, rest = found[unit]["text"].partition(f"[{section}]\n")
    return [line for line in rest.partition("\n[")[0].splitlines() if line]


def _value(text: str, key: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{key}=")]
