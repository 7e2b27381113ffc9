"""services.rbee: what its options become, and what it says to those that cannot be."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from rbee.verify import options as named_by_verify
from tests.nix.evaluating import NixFailed, evaluate, rbee, toml, units
from tools import nixos_options

TOKEN = 'tokenFile = "/run/secrets/rbee-token";'
QUEEN = "queen.enable = true;"
POOL = f'pool.enable = true; pool.queen = "http://blep.home.arpa:8080"; pool.url = "http://192.168.1.20:9200"; {TOKEN}'
HASH = f"sha256-{'A' * 43}="
HUB = 'repo = "org/name"; file = "x.gguf";'
WORKSTATION = rbee(
    f"""
    {POOL}
    openFirewall = true;
    pool.listen = "0.0.0.0";
    pool.gpus = [ "nvidia" ];
    pool.modelsDir = "/srv/models";
    pool.hfTokenFile = "/run/secrets/hub";
    pool.settings.gpu_limit_c = 83;
    pool.workerPorts = {{ from = 18001; to = 18099; }};
    pool.workerSlice = {{ memoryMax = "80%"; cpuQuota = 600; allowedCpus = "2-7"; }};
    pool.tls = {{ certFile = "/srv/tls/crt"; keyFile = "/srv/tls/key"; }};
    pool.url = lib.mkForce "https://192.168.1.20:9200";
    models.chat = {{
      hub = {{ {HUB} }};
      ctx = 8192; slots = 4; kv = "q8_0"; backend = "cuda"; gpu = 0; gpuLayers = 20; idle = 600; priority = 10; pinned = true; keep = false;
    }};
    models.known = {{ hub = {{ {HUB} revision = "v1"; sha256 = "{"0" * 64}"; }}; fetch = false; }};
    models.mine.path = "/srv/models/mine.gguf";
    workers.chat = {{ backend = "cuda"; model = "chat"; gpu = 1; memoryBytes = 1073741824; cpuPercent = 400; lazy = true; }};
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
        queen.listen = "::1"; queen.port = 8081; queen.callers.ann = "sha256:{"0" * 64}"; queen.policy = "/etc/mine.star";
        keeper.enable = true; keeper.hosts.workstation = {{ ssh = "root@workstation"; sudo = true; }}; keeper.hosts.mac = {{ }};
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


def test_settings_win_over_what_the_options_say() -> None:
    said = tomllib.loads(
        toml(rbee(f'{QUEEN} queen.settings.bind = "127.0.0.1:1"; settings.keeper.queen = null;')).read_text()
    )
    assert said["queen"]["bind"] == "127.0.0.1:1"
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
        "LoadCredential=tls.crt:/srv/tls/crt",
        "LoadCredential=tls.key:/srv/tls/key",
        "LoadCredential=hugging-face:/run/secrets/hub",
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


@pytest.mark.parametrize(
    ("change", "restarted", "reloaded"),
    [
        ('workers.a = { backend = "cpu"; model = "smollm2"; };', set(), {"rbee-pool", "rbee-queen"}),
        ('queen.policy = "/etc/mine.star";', set(), {"rbee-pool", "rbee-queen"}),
        ("queen.settings.queue_capacity = 7;", {"rbee-queen"}, {"rbee-pool", "rbee-queen"}),
        ("pool.settings.heartbeat_s = 1.0;", set(), {"rbee-pool", "rbee-queen"}),
        ('pool.settings.id = "other";', {"rbee-pool"}, {"rbee-pool", "rbee-queen"}),
        ("queen.port = 8081;", set(), {"rbee-pool", "rbee-queen", "rbee-queen-address"}),
        ('tokenFile = lib.mkForce "/run/other";', set(), {"rbee-pool", "rbee-queen"}),
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


def test_the_token_is_found_through_a_link_unless_it_lies_there_itself() -> None:
    found = evaluate(f"(evaluated {rbee(POOL)}).environment.etc")
    assert found["rbee/token"]["source"] == "/run/secrets/rbee-token"
    for own in (
        'tokenFile = lib.mkForce "/etc/rbee/token";',
        "tokenFile = lib.mkForce null; pool.queen = lib.mkForce null;",
    ):
        assert "rbee/token" not in evaluate(f"(evaluated {rbee(POOL + own)}).environment.etc")


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
        f"with evaluated {WORKSTATION}; {{ users = builtins.attrNames users.users; groups = builtins.attrNames users.groups;"
        " tmpfiles = systemd.tmpfiles.settings; packages = builtins.length systemd.tmpfiles.packages; }"
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


# What cannot be

CANNOT_BE: Mapping[str, tuple[str, str]] = {
    "one port for both": (f"{QUEEN} {POOL} pool.port = 8080;", "queen.port and services.rbee.pool.port are both 8080"),
    "no token for a pool on the network": (
        'pool.enable = true; pool.listen = "0.0.0.0"; pool.url = "http://192.168.1.20:9200";',
        "services.rbee.tokenFile is not set",
    ),
    "no token for a queen elsewhere": (
        'pool.enable = true; pool.queen = "http://blep:8080"; pool.url = "http://192.168.1.20:9200";',
        "services.rbee.tokenFile is not set",
    ),
    "a pool nobody reaches": (
        f'pool.enable = true; pool.queen = "http://blep:8080"; {TOKEN}',
        "where http://blep:8080 cannot reach it",
    ),
    "every address and no url": (
        f'{QUEEN} pool.enable = true; pool.listen = "::"; {TOKEN}',
        "the queen has to be told one",
    ),
    "its own name": (f'{POOL} pool.url = lib.mkForce "http://nixos:9200";', "takes that name for a loopback address"),
    "ports the wrong way round": (f"{POOL} pool.workerPorts.from = 9000;", "from is 9000, expected at most to, 8999"),
    "models in a home": (f'{POOL} pool.modelsDir = "/home/ann/models";', "the pool sees nobody's home"),
    "half a certificate": (f'{QUEEN} queen.tls.certFile = "/srv/crt";', "queen.tls: certFile and keyFile go together"),
    "half a certificate of the pool": (f'{POOL} pool.tls.keyFile = "/srv/key";', "pool.tls: certFile and keyFile go"),
    "a certificate for no name": (
        f'{QUEEN} queen.tls = {{ certFile = "/srv/crt"; keyFile = "/srv/key"; }};',
        "with a certificate others have to know the name in it",
    ),
    "a caller's name": (
        f'{QUEEN} queen.callers."Ann B" = "sha256:{"0" * 64}";',
        "services.rbee.queen.callers: a name is",
    ),
    "a model's name": (f'{POOL} models.Chat.path = "/x.gguf";', '"Chat" is no name for a model'),
    "a model from nowhere": (f"{POOL} models.chat = {{ }};", "models.chat: say where the model comes from"),
    "a model from two places": (f'{POOL} models.chat = {{ path = "/x.gguf"; hub = {{ {HUB} }}; }};', "and not by both"),
    "two ways to pin": (
        f'{POOL} models.chat.hub = {{ {HUB} hash = "{HASH}"; sha256 = "{"0" * 64}"; }};',
        "hash and sha256 are ways to pin the same file",
    ),
    "one hash for many parts": (
        f'{POOL} models.chat.hub = {{ repo = "o/n"; file = "x-00001-of-00003.gguf"; hash = "{HASH}"; }};',
        "the first of 00003 parts, so give the hash of each",
    ),
    "too few hashes": (
        f'{POOL} models.chat.hub = {{ repo = "o/n"; file = "x-00001-of-00003.gguf"; hashes = [ "{HASH}" ]; }};',
        "hashes has 1, and the model has 00003 parts",
    ),
    "many hashes for one part": (
        f'{POOL} models.chat.hub = {{ {HUB} hashes = [ "{HASH}" ]; }};',
        "hashes has 1, and the file is no first part of a split model",
    ),
    "a model's gpu on the processor": (
        f'{POOL} models.chat = {{ path = "/x.gguf"; backend = "cpu"; gpu = 0; }};',
        'services.rbee.models.chat: gpu or gpuLayers is set, and backend is "cpu"',
    ),
    "a worker's gpu on the processor": (
        f'{POOL} workers.a = {{ backend = "cpu"; model = "smollm2"; gpuLayers = 3; }};',
        'services.rbee.workers.a: gpu or gpuLayers is set, and backend is "cpu"',
    ),
    "a worker's name": (
        f'{POOL} workers."a b" = {{ backend = "cpu"; model = "smollm2"; }};',
        '"a b" is no name for a worker',
    ),
    "a worker without a pool": (
        f'{QUEEN} workers.a = {{ backend = "cpu"; model = "smollm2"; }};',
        "workers.a: a worker needs a pool on its host",
    ),
    "the name of all hosts": ("keeper.enable = true; keeper.hosts.all = { };", '"all" is no name for a host'),
    "a token in an /etc that is read-only": (
        f"{QUEEN} }}; system.etc.overlay = {{ enable = true; mutable = false;",
        "no\ntoken can be made in it",
    ),
}

WARNED: Mapping[str, tuple[str, str]] = {
    "an unknown model": (
        f'{POOL} workers.a = {{ backend = "cpu"; model = "chat"; }};',
        'workers.a.model is "chat", a model that is not declared here',
    ),
    "a pool without a queen": ("pool.enable = true;", "services.rbee.pool.queen is not set and this host has no queen"),
    "no driver": (f'{POOL} pool.gpus = [ "nvidia" ];', "no NVIDIA driver is configured"),
    "no GPU declared": (
        f'{POOL} workers.a = {{ backend = "cuda"; model = "smollm2"; }};',
        'services.rbee.pool.gpus does not have "nvidia"',
    ),
    "a package without CUDA": (
        f'{POOL} pool.gpus = [ "nvidia" ]; workers.a = {{ backend = "cuda"; model = "smollm2"; }};',
        "the llama.cpp of services.rbee.package was built without it",
    ),
}

FINE = {
    "a queen alone": QUEEN,
    "a queen on the network": f'{QUEEN} queen.listen = "0.0.0.0";',
    "queen and pool": f"{QUEEN} pool.enable = true;",
    "a pool elsewhere": POOL,
    "a keeper alone": 'keeper.enable = true; keeper.queen = "http://blep:8080";',
    "a worker of a reference": f'{POOL} workers.a = {{ backend = "cpu"; model = "hf:org/name"; }};',
    "a worker with an adapter": f'{POOL} workers.a = {{ backend = "cpu"; model = "smollm2+pirate"; }};',
    "a token in an /etc that is read-only": f"{QUEEN} {TOKEN} }}; system.etc.overlay = {{ enable = true; mutable = false;",
}


@pytest.fixture(scope="module")
def said() -> Mapping[str, Mapping[str, list[str]]]:
    """What the module says to each of these configurations, evaluated together."""
    cases = {f"cannot {name}": body for name, (body, _) in CANNOT_BE.items()}
    cases |= {f"warned {name}": body for name, (body, _) in WARNED.items()}
    cases |= {f"fine {name}": body for name, body in FINE.items()}
    attributes = "".join(f'"{name}" = told {rbee(body)};\n' for name, body in cases.items())
    found: Mapping[str, Mapping[str, list[str]]] = evaluate(
        f"""let told = module: with evaluated module; {{
          inherit warnings;
          failed = map (each: each.message) (lib.filter (each: !each.assertion) assertions);
        }}; in {{ {attributes} }}"""
    )
    return found


@pytest.mark.parametrize("name", CANNOT_BE)
def test_what_cannot_be_is_refused_with_a_sentence(said: Mapping[str, Any], name: str) -> None:
    sentences = said[f"cannot {name}"]["failed"]
    assert any(CANNOT_BE[name][1] in sentence for sentence in sentences), sentences
    assert len(sentences) == 1, "one mistake, one sentence"


@pytest.mark.parametrize("name", WARNED)
def test_what_may_not_be_meant_is_warned_of(said: Mapping[str, Any], name: str) -> None:
    assert said[f"warned {name}"]["failed"] == []
    assert any(WARNED[name][1] in sentence for sentence in said[f"warned {name}"]["warnings"]), said[f"warned {name}"]


@pytest.mark.parametrize("name", FINE)
def test_what_is_right_is_taken_without_a_word(said: Mapping[str, Any], name: str) -> None:
    assert said[f"fine {name}"] == {"failed": [], "warnings": []}


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ('tokenFile = "${pkgs.coreutils}/token";', "tokenFile"),
        ("tokenFile = ./LICENSE;", "tokenFile"),
        ('tokenFile = "token";', "tokenFile"),
        ('queen.listen = "localhost";', "queen.listen"),
        ('queen.listen = "*";', "queen.listen"),
        ("queen.port = 65536;", "queen.port"),
        ('queen.url = "blep:8080";', "queen.url"),
        ('queen.tls.keyFile = "${pkgs.coreutils}/key";', "queen.tls.keyFile"),
        ('queen.callers.ann = "secret";', "queen.callers.ann"),
        ("queen.databasePasswordFile = ./LICENSE;", "queen.databasePasswordFile"),
        ('pool.queen = [ "blep" ];', "pool.queen"),
        ('pool.gpus = [ "matrox" ];', "pool.gpus"),
        ("pool.workerSlice.cpuWeight = 0;", "pool.workerSlice.cpuWeight"),
        ("pool.workerPorts.to = 70000;", "pool.workerPorts.to"),
        ('models.a.hub = { repo = "name"; file = "x.gguf"; };', "models.a.hub.repo"),
        ('models.a.hub = { repo = "o/n"; file = "x.bin"; };', "models.a.hub.file"),
        ('models.a.hub = { repo = "o/n"; file = "x.gguf"; hash = "abc"; };', "models.a.hub.hash"),
        ("models.a.ctx = 1;", "models.a.ctx"),
        ("models.a.slots = 65;", "models.a.slots"),
        ("models.a.priority = 101;", "models.a.priority"),
        ('models.a.kv = "q4_0";', "models.a.kv"),
        ("models.a.idle = 0;", "models.a.idle"),
        ('workers.a = { backend = "metal"; model = "x"; };', "workers.a.backend"),
        ('workers.a = { backend = "cpu"; model = ""; };', "workers.a.model"),
        ('workers.a = { backend = "cpu"; };', "workers.a.model"),
        ('keeper.hosts.a.ssh = "-oProxyCommand=x";', "keeper.hosts.a.ssh"),
        ("settings.queen = 3;", "settings.queen"),
        ("pool.portt = 1;", "pool.portt"),
    ],
)
def test_nonsense_is_refused_by_its_type(body: str, option: str) -> None:
    with pytest.raises(NixFailed) as failed:
        evaluate(f"(evaluated {rbee(body)}).services.rbee.{option}")
    assert f"services.rbee.{option}" in str(failed.value)


def test_a_secret_in_the_store_is_refused_with_the_reason() -> None:
    module = rbee('tokenFile = "${pkgs.coreutils}/token";')
    with pytest.raises(NixFailed, match="not in the Nix store, which everybody may read"):
        evaluate(f"(evaluated {module}).services.rbee.tokenFile")


# The page


@pytest.fixture(scope="module")
def declared() -> list[dict[str, Any]]:
    return nixos_options.options()


def test_the_page_of_options_is_as_they_are_declared(declared: list[dict[str, Any]]) -> None:
    assert nixos_options.PAGE.read_text() == nixos_options.page(declared), "python -m tools.nixos_options"


def test_every_option_says_what_it_is_for(declared: list[dict[str, Any]]) -> None:
    assert len(declared) > 60
    for option in declared:
        assert option["description"].strip().endswith("."), option["name"]
        assert option["readOnly"] or "example" in option or option["name"] == "services.rbee.package", option["name"]


def test_the_options_that_verify_names_are_there(declared: list[dict[str, Any]]) -> None:
    names = {option["name"] for option in declared}
    said = [value for value in vars(named_by_verify).values() if isinstance(value, str) and "services.rbee" in value]
    found = {match for text in said for match in re.findall(r"services\.rbee(?:\.\w+)+", text)}
    assert len(found) > 5
    assert found <= names


def _lines(found: Mapping[str, Mapping[str, Any]], unit: str, section: str) -> list[str]:
    _, _, rest = found[unit]["text"].partition(f"[{section}]\n")
    return [line for line in rest.partition("\n[")[0].splitlines() if line]


def _value(text: str, key: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{key}=")]
