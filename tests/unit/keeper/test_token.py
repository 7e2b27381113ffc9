from pathlib import Path

from rbee import config
from tests.unit.keeper.conftest import run


async def test_a_token_is_32_random_bytes(tmp_path: Path) -> None:
    one, two = (await run("token", "new")).out, (await run("token", "new", "--format=json")).document["token"]
    assert len(bytes.fromhex(one)) == len(bytes.fromhex(two)) == 32
    assert one.strip() != two


async def test_a_file_is_for_its_owner_only_and_is_one_that_daemons_take(tmp_path: Path) -> None:
    file = tmp_path / "new-token"
    done = await run("token", "new", f"--output={file}")
    assert (done.code, done.out) == (0, f"a new token is in {file}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(config.read_token(str(file), environ={})) == 1


async def test_what_is_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "new-token"
    file.write_text("precious")
    assert (await run("token", "new", f"--output={file}")).code == 73
    assert file.read_text() == "precious"


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = await run("token", "new", f"--output={tmp_path}/none/token")
    assert (done.code, "No such file or directory" in done.err) == (73, True)


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    await run("token", "new", f"--output={tmp_path}/new-token", "--dry-run")
    assert not (tmp_path / "new-token").exists()
