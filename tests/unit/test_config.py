import dataclasses
import os
import re
import tomllib
from pathlib import Path

import pytest

from rbee import config
from rbee.errors import ConfigInvalid
from rbee.wire import codec
from rbee.wire.workers import Backend, Kv, WorkerShape


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = write(tmp_path / "rbee.toml", "[pool]\nheartbeat_s = 1\nqueen = 'http://a:1'\nid = 'mac'\n")
    environ = {
        "RBEE_POOL_HEARTBEAT_S": "0.5",
        "RBEE_POOL_QUEEN": "http://b:2",
        "RBEE_QUEEN_POOLS": "http://c:3,http://d:4",
    }
    settings = config.load(file, environ, pool={"queen": "http://flag:9", "bind": None})
    assert (settings.pool.id, settings.pool.heartbeat_s, settings.pool.queen) == ("mac", 0.5, "http://flag:9")
    assert settings.pool.bind == "127.0.0.1:9200"
    assert settings.queen.pools == ("http://c:3", "http://d:4")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[queen]\nbnd = 'x'", "queen.bnd: is not a known field"),
        ("[queen]\nqueue_capacity = 'many'", "queen.queue_capacity: is text, expected a whole number"),
        ("[queen]\nqueue_capacity = -2", "expected -1..1"),
        ("[queen]\nqueue_policy = 'random'", "queen.queue_policy"),
        ("[queen.callers]\nann = 'secret'", "queen.callers.ann"),
        ("[pool]\nworker_ports = '9000-8000'", "pool.worker_ports"),
        ("[pool]\nmodels_dir = 'models'", "pool.models_dir"),
        ("queen = 3", "queen is 3"),
        ("[models.'A B']\nrepo = 'a/b'\nfile = 'c.gguf'", "models.A B"),
        ("[models.a]\nrepo = 'a'\nfile = 'c.gguf'", "models.a.repo"),
        ("[models.a]", "models.a.repo: is missing: expected repo and file, for a model of the hub, or path"),
        ("[models.a]\nrepo = 'a/b'", "models.a.file: is missing, expected beside repo"),
        ("[models.a]\nfile = 'c.gguf'", "models.a.repo: is missing, expected beside file"),
        ("[models.a]\nrepo = 'a/b'\nfile = 'c.gguf'\npath = '/c.gguf'", "models.a.repo: does not go with path"),
        ("[models.a]\npath = '/c.gguf'\nrevision = 'v2'", "models.a.revision: does not go with path"),
        ("[models.a]\npath = 'c.gguf'", "models.a.path: is 'c.gguf', expected an absolute path"),
        ("[models.a]\npath = '/c-00002-of-00003.gguf'", "expected the first part of the model, c-00001-of-00003.gguf"),
        ("[models.a]\npath = '/c-00009-of-00003.gguf'", "models.a.path: is '/c-00009-of-00003.gguf'"),
        ("[models.a]\npath = '/c.gguf'\nsha256 = 'abc'", "models.a.sha256"),
        ("[models.a]\npath = '/c.gguf'\nbackend = 'tpu'", 'models.a.backend: is "tpu", expected one of cpu, cuda'),
        ("[models.a]\npath = '/c.gguf'\nbackend = 'cpu'\ngpu = 0", "models.a.gpu: is 0, but the backend is cpu"),
        ("[models.a]\npath = '/c.gguf'\nbackend = 'cpu'\ngpu_layers = 3", "models.a.gpu_layers: is 3, but the backend"),
        ("[models.a]\npath = '/c.gguf'\nkv = 'q2_k'", 'models.a.kv: is "q2_k", expected one of f16, q8_0'),
        ("[models.a]\npath = '/c.gguf'\npriority = 101", "models.a.priority: is 101, expected -100..100"),
        ("[models.a]\npath = '/c.gguf'\nctx = 3", "models.a.ctx: is 3, expected 64.."),
        ("[drones]", "drones: is not a known field"),
        ("[queen", "is not TOML"),
    ],
)
def test_a_wrong_key_is_named_with_what_was_expected(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        config.load(write(tmp_path / "rbee.toml", text), {})
    assert says in caught.value.message
    assert "rbee.toml" in caught.value.message or "queen is" in caught.value.message
    assert caught.value.exit_code == os.EX_CONFIG


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"pool\.heartbeat_s: is text"):
        config.load(None, {"RBEE_POOL_HEARTBEAT_S": "often"})
    with pytest.raises(ConfigInvalid, match=r"^RBEE_QUEEN_BINDD: queen\.bindd: is not a known field$"):
        config.load(None, {"RBEE_QUEEN_BINDD": "x"})


def test_each_wrong_key_is_under_what_sets_it(tmp_path: Path) -> None:
    file = write(tmp_path / "rbee.toml", '[worker]\nctx = 1\nslots = 0\n[pool]\nbind = "no"\n')
    with pytest.raises(ConfigInvalid) as caught:
        config.load(file, {"RBEE_WORKER_SLOTS": "many", "RBEE_POOL_QUEEN": "no"}, pool={"queen": "neither"})
    said = caught.value.message
    assert said.count(str(file)) == 1
    assert "RBEE_WORKER_SLOTS: worker.slots: is text" in said
    assert 'a flag: pool.queen: is "neither"' in said
    assert "RBEE_POOL_QUEEN" not in said
    assert said.index(str(file)) < said.index("worker.ctx") < said.index("RBEE_WORKER_SLOTS")


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        config.load(str(tmp_path / "none.toml"), {})


def test_a_token_file_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 64)
    file.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="mode 0644, expected 0600"):
        config.read_token(str(file), environ={})
    file.chmod(0o600)
    assert config.read_token(str(file), environ={}) == ("a" * 64,)


@pytest.mark.parametrize("content", ["", "short", "é" * 20])
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ConfigInvalid):
        config.read_token(str(file), environ={})


def test_without_a_word_the_users_own_token_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {"HOME": str(tmp_path)}
    assert config.read_token("", environ=environ) == ()
    file = tmp_path / ".config/rbee/token"
    file.parent.mkdir(parents=True)
    file.write_text("u" * 64)
    file.chmod(0o600)
    assert config.read_token("", environ=environ) == ("u" * 64,)


def test_an_empty_credential_is_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    assert config.read_token("", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ()


def test_a_credential_of_systemd_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("c" * 32 + "\n" + "d" * 32)
    assert config.read_token("/nowhere", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ("c" * 32, "d" * 32)


def test_a_token_handed_on_by_a_reload_wins_over_the_credential_it_is_newer_than(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config.secrets, "HANDED_ON", tmp_path)
    credentials = tmp_path / "rbee-queen.service"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    (credentials / "token").write_text("c" * 32)
    handed_on = tmp_path / "rbee-queen.token"
    handed_on.write_text("h" * 32)
    started_s = (credentials / "token").stat().st_mtime
    for age_s, taken in ((-1, "h" * 32), (1, "c" * 32)):  # older than the start: left over from the run before
        os.utime(handed_on, (started_s - age_s,) * 2)
        assert config.read_token("", environ=environ) == (taken,)


EXAMPLE = Path(__file__).parents[2] / "etc/rbee.toml"
TABLES = {
    "queen": config.Queen,
    "pool": config.Pool,
    "worker": config.Worker,
    "hive": config.Hive,
    "keeper": config.Keeper,
}


def test_the_example_as_it_is_changes_nothing() -> None:
    settings = config.load(str(EXAMPLE), {})
    assert dataclasses.replace(settings, file="") == config.Settings()


def test_the_example_shows_every_key_with_its_default() -> None:
    lines = EXAMPLE.read_text().splitlines()
    uncommented = "\n".join(
        line.removeprefix("#") if re.match(r"#[a-z0-9_]+ = |#\[", line) else "" if line.startswith("#") else line
        for line in lines
    )
    shown = tomllib.loads(uncommented)
    for table, kind in TABLES.items():
        assert set(shown[table]) == {field.name for field in dataclasses.fields(kind)}, table
        for key, value in shown[table].items():
            default = getattr(kind(), key)
            if key not in {"id", "callers"}:
                assert (list(default) if isinstance(default, tuple) else default) == value, f"{table}.{key}"
    models = {field.name for field in dataclasses.fields(config.Model)}
    assert {key for table in shown["models"].values() for key in table} == models
    assert set(shown["workers"]["chat"]) == {field.name for field in dataclasses.fields(WorkerShape)}
    codec.from_dict(config.Settings, shown)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[workers.chat]\nbackend = "cpu"', "workers.chat.model: is missing"),
        ('[workers.chat]\nmodel = "tiny"', "workers.chat.backend: is missing"),
        ('[workers.chat]\nbackend = "tpu"\nmodel = "tiny"', "workers.chat.backend: "),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "http://x/y"', "workers.chat.model: model 'http://x/y' is a URL"),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "tiny+"', "workers.chat.model: model is 'tiny+'"),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "tiny"\ngpu = 1', "workers.chat.gpu: is 1, but the backend is cpu"),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "tiny"\nid = "x"', "workers.chat.id: is not a known field"),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "tiny"\nspare = true', "workers.chat.spare: is not a known field"),
        ('[workers.chat]\nbackend = "cpu"\nmodel = "tiny"\nctx = 1', "workers.chat.ctx: is 1, expected 64..1048576"),
        ('[workers.Chat]\nbackend = "cpu"\nmodel = "tiny"', "workers.Chat: worker id is 'Chat', expected it to match"),
        ('[workers.cpu-0]\nbackend = "cpu"\nmodel = "tiny"', "workers.cpu-0: worker id is 'cpu-0', whose unit"),
        (
            "".join(f'[workers.{worker}]\nbackend = "cpu"\nmodel = "tiny"\n' for worker in ("big", "worker-big")),
            "workers.worker-big: would have the unit of workers.big, rbee-worker-big.service",
        ),
        ('[models.tiny]\nrepo = "a/b"\nfile = "c.gguf"\nfetch = "yes"', "models.tiny.fetch: is text"),
    ],
)
def test_a_declaration_that_cannot_be_names_its_key(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        config.load(write(tmp_path / "rbee.toml", table), {})
    assert problem in refused.value.message


def test_a_declared_worker_is_what_a_spawn_would_ask_for(tmp_path: Path) -> None:
    file = write(tmp_path / "rbee.toml", '[workers.chat]\nbackend = "cuda"\nmodel = "tiny+pirate"\nkv = "q8_0"\n')
    settings = config.load(file, {})
    assert settings.workers == {"chat": WorkerShape(backend=Backend.CUDA, model="tiny+pirate", kv=Kv.Q8_0)}
