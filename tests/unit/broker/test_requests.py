import json
from pathlib import Path
from typing import Any

import pytest

from rbee.broker import requests
from rbee.broker.requests import Bounds
from rbee.errors import InvalidRequest, ModelNotFound, NotPermitted
from rbee.pool_core.ports import WorkerPlan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.gguf").write_text("GGUF")
    (tmp_path / "shadow").write_text("secret")
    (folder / "way-out.gguf").symlink_to(tmp_path / "shadow")
    (folder / "inside.gguf").symlink_to("tiny.gguf")
    (folder / "folder.gguf").mkdir()
    return folder


def wish(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "id": "worker-cpu-0",
        "backend": "cpu",
        "model": "tiny",
        "model_paths": [f"{root}/tiny.gguf"],
        "address": "127.0.0.1:8001",
        "ctx": 256,
        "slots": 1,
        "idle_s": 60,
        "memory_bytes": 1 << 30,
        "gpu": None,
        "cpu_percent": None,
        "threads": 1,
        **changes,
    }


def plan_of(root: Path, **changes: Any) -> WorkerPlan:
    request = requests.read(json.dumps({"op": "start", "plan": wish(root, **changes)}).encode())
    assert request.plan is not None
    return requests.plan_of(request.plan, Bounds(roots=[root], ports=(80, 8999)))


def test_a_right_wish_becomes_a_plan(root: Path) -> None:
    plan = plan_of(root, gpu=1, cpu_percent=50)
    assert (plan.id, plan.address, plan.gpu, plan.cpu_percent) == ("worker-cpu-0", "127.0.0.1:8001", 1, 50)
    assert plan.model_paths == (f"{root}/tiny.gguf",)
    assert plan_of(root, address="[::1]:8001").address == "[::1]:8001"


def test_adapters_and_all_that_sizes_a_worker_get_through(root: Path) -> None:
    wanted = {"backend": "cuda", "gpu": 0, "kv": "q8_0", "batch": 512, "gpu_layers": 3, "keep": True}
    plan = plan_of(root, model="tiny+pirate", adapter_paths=[f"{root}/inside.gguf"], **wanted)
    assert (plan.model, plan.adapter_paths) == ("tiny+pirate", (f"{root}/tiny.gguf",))
    assert (plan.kv, plan.batch, plan.gpu_layers, plan.keep) == ("q8_0", 512, 3, True)


def test_a_link_within_the_roots_is_followed_and_its_target_used(root: Path) -> None:
    assert plan_of(root, model_paths=[f"{root}/inside.gguf"]).model_paths == (f"{root}/tiny.gguf",)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"id": "../x;y"}, InvalidRequest),
        ({"id": "ssh.service"}, InvalidRequest),
        ({"id": "cpu-0"}, InvalidRequest),
        ({"id": 7}, InvalidRequest),
        ({"backend": "sh"}, InvalidRequest),
        ({"model": "a b"}, InvalidRequest),
        ({"model": "%n"}, InvalidRequest),
        ({"model_paths": []}, InvalidRequest),
        ({"model_paths": ["relative.gguf"]}, InvalidRequest),
        ({"model_paths": ["/models/a\nb"]}, InvalidRequest),
        ({"address": "0.0.0.0:22"}, NotPermitted),
        ({"address": "127.0.0.1:9999"}, NotPermitted),
        ({"address": "999.0.0.1:8001"}, InvalidRequest),
        ({"address": "localhost:8001"}, InvalidRequest),
        ({"address": "/run/x.sock"}, InvalidRequest),
        ({"slots": 10_000}, InvalidRequest),
        ({"memory_bytes": -1}, InvalidRequest),
        ({"gpu": "; rm -rf /"}, InvalidRequest),
        ({"gpu": 0, "gpus": [0, 1], "split": [100]}, InvalidRequest),
        ({"gpu": 0, "gpus": [0, 1], "split": [1 << 60, 1]}, InvalidRequest),
        ({"kv": "q2_k"}, InvalidRequest),
        ({"batch": 0}, InvalidRequest),
        ({"batch": 1 << 40}, InvalidRequest),
        ({"gpu_layers": 4}, InvalidRequest),  # of the CPU
        ({"backend": "cuda", "gpu_layers": 100_000}, InvalidRequest),
        ({"keep": "/etc"}, InvalidRequest),
        ({"model": "tiny+pirate"}, InvalidRequest),  # without the adapter's path
        ({"model": "tiny+a b", "adapter_paths": ["/x.gguf"]}, InvalidRequest),
        ({"model": "tiny+../../etc", "adapter_paths": ["/x.gguf"]}, InvalidRequest),
        ({"adapter_paths": ["/etc/shadow"]}, InvalidRequest),
        ({"model": "tiny+pirate", "adapter_paths": ["/etc/shadow"]}, NotPermitted),
        ({"model": "+".join(["tiny", *(["x"] * 9)]), "adapter_paths": ["/x.gguf"] * 9}, InvalidRequest),
        ({"ExecStart": "/bin/sh"}, InvalidRequest),
        ({"Environment": "LD_PRELOAD=x"}, InvalidRequest),
    ],
    ids=str,
)
def test_a_wrong_wish_is_refused(root: Path, change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_of(root, **change)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{root}/way-out.gguf", NotPermitted),
        ("{root}/../shadow", NotPermitted),
        ("/etc/shadow", NotPermitted),
        ("{root}/none.gguf", ModelNotFound),
        ("{root}/folder.gguf", ModelNotFound),
    ],
)
def test_models_lie_under_the_roots(root: Path, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_of(root, model_paths=[path.format(root=root)])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"op":"exec"}',
        b'{"op":"start"}',
        b'{"op":"stop"}',
        b'{"op":"list","id":"x"}',
        b"\xff",
        b"null",
    ],
)
def test_junk_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidRequest):
        requests.read(line)


def test_every_wrong_field_is_named_at_once(root: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan_of(root, slots=0, ctx=1, idle_s="x")
    assert {field["field"] for field in refused.value.details["fields"]} == {"plan.slots", "plan.ctx", "plan.idle_s"}
