"""queen-rbee as a program: what it refuses to start with, and what SIGHUP changes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rbee import __version__
from rbee.client.http import HttpClient
from rbee.errors import ConfigInvalid, RbeeError
from rbee.queen import main as queen
from tests.rig.waiting import PATIENCE
from tests.support.ports import free_port
from tests.unit.queen.conftest import SOON_S, eventually
from tests.unit.queen.test_restart import RUN

TOKEN, OTHER = "first-token-first-token", "second-token-second-token"


def start(directory: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RBEE_")}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *words],
        env={**inherited, "STATE_DIRECTORY": str(directory), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(directory: Path, *words: str, **environ: str) -> tuple[int, str, str]:
    process = start(directory, *words, **environ)
    out, err = process.communicate(timeout=30 * PATIENCE)
    return process.returncode, out, err


def written(file: Path, text: str, mode: int = 0o600) -> str:
    file.write_text(text)
    file.chmod(mode)
    return str(file)


def test_the_network_is_not_served_without_a_token(tmp_path: Path) -> None:
    config = written(tmp_path / "rbee.toml", "")
    status, _, err = run(tmp_path, f"--config={config}", f"--bind=0.0.0.0:{free_port()}")
    assert status == os.EX_CONFIG
    assert "is reachable from the network, but no token is configured" in err
    assert "rbee-keeper token new" in err
    assert not (tmp_path / "queen.sqlite").exists()


def test_a_unit_without_its_socket_does_not_listen_where_nobody_looks(tmp_path: Path) -> None:
    config = written(tmp_path / "rbee.toml", "")
    status, _, err = run(tmp_path, f"--config={config}", NOTIFY_SOCKET=str(tmp_path / "notify"))
    assert status == os.EX_CONFIG
    assert "systemd started this unit without its socket" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[queen]\nqueue_capacity = -7\n", "queen.queue_capacity: is -7, expected -1..1000000 jobs"),
        ("[queen]\ncolour = 'red'\n", "queen.colour: is not a known field"),
        ("[queen]\ndatabase = 'mysql://there/db'\n", "expected the path of an SQLite file, or postgresql://"),
        (
            "[queen]\ndatabase = 'postgresql://me:secret@there/db'\n",
            "which belongs into a file: database_password_file",
        ),
        ("[queen]\ndatabase = 'postgresql://me@there/db?password=secret'\n", "database: holds a password"),
        ("[queen]\ndatabase = 'postgresql:///db'\ndatabase_password_file = '/none'\n", "/none: No such file"),
        ("this is no toml", "is not TOML"),
    ],
)
def test_a_wrong_configuration_is_named_and_exits_78(tmp_path: Path, text: str, said: str) -> None:
    config = written(tmp_path / "rbee.toml", text)
    status, _, err = run(tmp_path, f"--config={config}", f"--bind=127.0.0.1:{free_port()}")
    assert status == os.EX_CONFIG
    assert said in err
    assert "secret" not in err


def test_check_config_says_so_and_touches_nothing(tmp_path: Path) -> None:
    config = written(tmp_path / "rbee.toml", "[queen]\nqueue_capacity = 5\n")
    status, out, _ = run(tmp_path, "--check-config", f"--config={config}")
    assert (status, out) == (0, f"{config}: right\n")
    assert not (tmp_path / "queen.sqlite").exists()


def test_a_file_by_itself_is_checked_with_a_policy_that_is_the_same_on_every_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder stands for the Nix store, to which tests cannot write."""
    script = tmp_path / "store/policy.star"
    file = written(tmp_path / "rbee.toml", f'[queen]\npolicy = "{script}"\n')
    args = {"<file>": file}
    script.parent.mkdir()
    written(script, "def decide(context)\n")
    assert queen.check(args) == file, "a file of this host"
    monkeypatch.setattr(queen, "STORE", f"{script.parent}/")
    with pytest.raises(ConfigInvalid, match=r"policy\.star"):
        queen.check(args)
    written(script, "def decide(context):\n    return None\n")
    assert queen.check(args) == file
    script.unlink()
    assert queen.check(args) == file, "the store of another host"


def test_version_help_and_usage(tmp_path: Path) -> None:
    assert run(tmp_path, "--version")[:2] == (0, f"queen-rbee {__version__}\n")
    assert "Usage:" in run(tmp_path, "--help")[1]
    assert run(tmp_path, "--nonsense")[0] == os.EX_USAGE


async def accepts(url: str, token: str) -> bool:
    async with HttpClient(url, token=token) as http:
        try:
            await http.call("GET", "/v2/meta/version")
        except RbeeError:
            return False
        return True


async def test_sighup_rotates_tokens_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    token = tmp_path / "token"
    written(token, TOKEN)
    config = written(tmp_path / "rbee.toml", f"[queen]\npools = []\ntoken_file = '{token}'\n")
    process = start(tmp_path, f"--config={config}", f"--bind=127.0.0.1:{port}")
    assert process.stderr is not None
    err = ""
    try:
        await eventually(lambda: accepts(url, TOKEN))
        assert not await accepts(url, OTHER)
        written(token, f"{OTHER}\n{TOKEN}\n")
        process.send_signal(signal.SIGHUP)
        await eventually(lambda: accepts(url, OTHER))
        assert await accepts(url, TOKEN)
        written(tmp_path / "rbee.toml", "[queen]\ncolour = 'red'\n")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(SOON_S):
            while "config.rejected" not in err:
                err += await asyncio.to_thread(process.stderr.readline)
        assert await accepts(url, OTHER)
        assert not await accepts(url, "third-token-third-token")
    finally:
        process.terminate()
        err += await asyncio.to_thread(process.stderr.read)
        process.communicate()
    assert process.returncode == 0
    assert "config.rejected" in err and "queen.colour: is not a known field" in err
    assert OTHER not in err
