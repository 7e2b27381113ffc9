"""services.rbee: what cannot be, and what it says then: a sentence at evaluation, and not a daemon that fails."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.nix.evaluating import ELSEWHERE, HASH, HUB, POOL, QUEEN, TOKEN, evaluate, rbee
from tests.nix.standin import NixError

READ_ONLY_ETC = "}; system.etc.overlay = { enable = true; mutable = false;"
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
    "its own name": (f'{ELSEWHERE} pool.url = "http://nixos:9200";', "takes that name for a loopback address"),
    "a queen bound elsewhere": (
        f'{QUEEN} queen.settings.bind = "0.0.0.0:8080";',
        'rbee.toml would say bind = "0.0.0.0:8080", and the socket listens at 127.0.0.1:8080',
    ),
    "a pool bound elsewhere": (
        f'{POOL} settings.pool.bind = "0.0.0.0:9200";',
        "say where it is to listen: services.rbee.pool.listen and services.rbee.pool.port",
    ),
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
        f"{QUEEN} {READ_ONLY_ETC}",
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
    "a token in an /etc that is read-only": f"{QUEEN} {TOKEN} {READ_ONLY_ETC}",
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
    with pytest.raises(NixError) as failed:
        evaluate(f"(evaluated {rbee(body)}).services.rbee.{option}")
    assert f"services.rbee.{option}" in str(failed.value)


def test_a_secret_in_the_store_is_refused_with_the_reason() -> None:
    module = rbee('tokenFile = "${pkgs.coreutils}/token";')
    with pytest.raises(NixError, match="not in the Nix store, which everybody may read"):
        evaluate(f"(evaluated {module}).services.rbee.tokenFile")
