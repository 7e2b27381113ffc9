import dataclasses
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.llm_worker.argv import parse
from rbee.pool_core import unit
from rbee.pool_core.ports import WorkerPlan
from rbee.pool_core.unit import Mode, NotAWorker
from tests.fakes.pool import PLACE, PLAN, PROGRAM

CUDA = dataclasses.replace(PLAN, id="worker-cuda-1", backend="cuda", gpu=1)
USER_PLACE = dataclasses.replace(PLACE, mode=Mode.USER, secrets="/run/user/1000/rbee/workers")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


def plans() -> st.SearchStrategy[WorkerPlan]:
    return st.builds(
        WorkerPlan,
        id=NAMES,
        backend=st.sampled_from(["cpu", "cuda", "rocm", "vulkan"]),
        model=NAMES,
        model_paths=st.lists(st.from_regex(r"/[ -~]{1,40}", fullmatch=True), min_size=1, max_size=3).map(tuple),
        address=st.sampled_from(["127.0.0.1:8001", "[::1]:8999", "10.0.0.7:8100"]),
        ctx=st.integers(64, 1 << 20),
        slots=st.integers(1, 64),
        idle_s=st.integers(1, 10**6),
        memory_bytes=st.integers(1, 1 << 45),
        gpu=st.none() | st.integers(0, 63),
        cpu_percent=st.none() | st.integers(1, 800),
        threads=st.integers(0, 64),
        kv=st.sampled_from(["f16", "q8_0"]),
        batch=st.integers(1, 1 << 20),
        gpu_layers=st.none() | st.integers(1, 1000),
        adapter_paths=st.lists(st.from_regex(r"/[ -~]{1,40}", fullmatch=True), max_size=3).map(tuple),
        keep=st.booleans(),
        priority=st.integers(-100, 100),
    )


@given(plans())
def test_what_systemd_is_told_can_be_read_back(plan: WorkerPlan) -> None:
    words = unit.argv(plan, PROGRAM)
    assert unit.plan_from_argv(words, memory_bytes=plan.memory_bytes, cpu_percent=plan.cpu_percent) == plan


def test_argv_is_the_contract_with_the_worker() -> None:
    assert unit.argv(CUDA, PROGRAM) == [
        PROGRAM,
        "--id=worker-cuda-1",
        "--model=tiny",
        "--backend=cuda",
        "--address=127.0.0.1:8001",
        "--ctx=512",
        "--slots=2",
        "--idle=300",
        "--threads=2",
        "--kv=f16",
        "--batch=128",
        "--gpu=1",
        "/models/tiny.gguf",
    ]


def test_adapters_cache_and_layers_reach_the_worker_whole() -> None:
    plan = dataclasses.replace(
        CUDA, model="tiny+pirate+polite", adapter_paths=("/models/pi$rate.gguf", "/models/polite.gguf"),
        kv="q8_0", batch=512, gpu_layers=7, keep=True, priority=-5,
    )  # fmt: skip
    options = parse(unit.argv(plan, PROGRAM)[1:])
    assert (options.model, options.path) == (plan.model, plan.model_paths)
    assert (options.lora, options.kv, options.batch) == (plan.adapter_paths, "q8_0", 512)
    assert (options.gpu_layers, options.keep) == (7, True)
    plain = parse(unit.argv(PLAN, PROGRAM)[1:])
    assert (plain.lora, plain.kv, plain.gpu_layers, plain.keep) == ((), "f16", None, False)


def test_a_worker_of_a_version_that_knew_less_is_still_understood() -> None:
    words = [word for word in unit.argv(PLAN, PROGRAM) if not word.startswith(("--kv", "--batch"))]
    assert unit.plan_from_argv(words, memory_bytes=PLAN.memory_bytes) == PLAN


def test_only_who_keeps_conversations_has_a_folder_and_nobody_else_may_look_into_it() -> None:
    kept = unit.service_properties(dataclasses.replace(PLAN, keep=True), PLACE)
    assert (kept["CacheDirectory"], kept["CacheDirectoryMode"]) == (["rbee-worker-cpu-0"], 0o700)
    assert "CacheDirectory" not in unit.service_properties(PLAN, PLACE)


def test_what_is_kept_goes_with_the_socket() -> None:
    plan = dataclasses.replace(PLAN, keep=True)
    of_system = unit.socket_properties(plan, PLACE)
    assert of_system["WorkingDirectory"] == "-/var/cache"
    rm = "/bin/rm -rf -- private/rbee-worker-cpu-0 rbee-worker-cpu-0"
    assert of_system["ExecStopPost"] == [f"-{rm}".split(), rm.split()]
    of_user = unit.socket_properties(plan, dataclasses.replace(PLACE, mode=unit.Mode.USER, cache="/home/ann/.cache"))
    assert of_user["ExecStopPost"] == [f"{word}/bin/rm -rf -- rbee-worker-cpu-0".split() for word in ("-", "")]
    assert "ExecStopPost" not in unit.socket_properties(PLAN, PLACE)


def test_homes_are_readable_where_an_adapter_is_in_one() -> None:
    plan = dataclasses.replace(PLAN, adapter_paths=("/home/ann/pirate.gguf",))
    assert unit.service_properties(plan, PLACE)["ProtectHome"] == "read-only"


def test_another_llama_is_found_by_the_worker() -> None:
    place = dataclasses.replace(PLACE, llama_lib="/opt/llama/lib")
    assert unit.environment(PLAN, place)["LLAMA_CPP_LIB_PATH"] == "/opt/llama/lib"
    assert "LLAMA_CPP_LIB_PATH" not in unit.environment(PLAN, PLACE)


def test_a_worker_that_is_split_gets_the_nodes_of_its_gpus_and_how_to_share() -> None:
    split = dataclasses.replace(CUDA, gpus=(1, 3), split=(63, 37))
    words = unit.argv(split, PROGRAM)
    assert words[11:13] == ["--gpu=1,3", "--split=63,37"]
    assert unit.plan_from_argv(words, memory_bytes=split.memory_bytes) == split
    options = parse(words[1:])
    assert (options.devices, options.split) == ((1, 3), (63, 37))
    allowed = unit.service_properties(split, PLACE)["DeviceAllow"]
    assert isinstance(allowed, list)
    assert [node for node, _ in allowed if node[-1].isdigit()] == ["/dev/nvidia1", "/dev/nvidia3"]


def test_amds_gpus_are_reached_through_the_nodes_they_have() -> None:
    rocm = dataclasses.replace(PLAN, id="worker-rocm-0", backend="rocm", gpu=1)
    place = dataclasses.replace(PLACE, render_nodes=lambda: ("/dev/dri/renderD129", "/dev/dri/renderD131"))
    for where, node in ((place, "/dev/dri/renderD131"), (PLACE, "/dev/dri/renderD129")):
        assert unit.service_properties(rocm, where)["DeviceAllow"] == [("/dev/kfd", "rw"), (node, "rw")]


@pytest.mark.parametrize("name", ["a$HOME", "${x}", "a;b", "it's", 'say "hi"', "a\\b", "line\nbreak", "100%;", "`id`"])
def test_what_systemd_would_change_is_quoted_and_the_worker_reads_it(name: str) -> None:
    plan = dataclasses.replace(PLAN, model_paths=(f"/models/{name}.gguf", "/models/plain.gguf"))
    words = unit.argv(plan, PROGRAM)
    assert not set("$;`'\"\\\n") & set("".join(words))
    assert unit.plan_from_argv(words).model_paths == plan.model_paths
    assert parse(words[1:]).path == plan.model_paths
    assert parse(words[1:]).model == plan.model


def test_a_name_of_digits_is_a_name() -> None:
    plan = dataclasses.replace(PLAN, id="7", model="123", model_paths=("/models/123",))
    options = parse(unit.argv(plan, PROGRAM)[1:])
    assert (options.id, options.model, options.path) == ("7", "123", ("/models/123",))


def test_what_systemd_leaves_alone_stays_readable() -> None:
    plan = dataclasses.replace(PLAN, model_paths=("/models/Größe 100%/a b+c~1.gguf",))
    assert unit.argv(plan, PROGRAM)[-1] == plan.model_paths[0]
    assert parse(unit.argv(plan, PROGRAM)[1:]).path == plan.model_paths


@pytest.mark.parametrize("idle_s", [1, 7, 60, 300, 30 * 86_400])
def test_sleeping_and_waking_as_often_as_can_be_is_not_failing_too_often(idle_s: int) -> None:
    properties = unit.service_properties(dataclasses.replace(PLAN, idle_s=idle_s), PLACE)
    interval_s, burst = properties["StartLimitIntervalSec"], properties["StartLimitBurst"]
    assert isinstance(interval_s, float)
    assert isinstance(burst, int)
    wakes = int(interval_s / idle_s) + 1
    assert wakes + 4 <= burst <= wakes + 5, "a worker that fails must still be stopped"


@pytest.mark.parametrize("words", [(), ("/bin/sh", "-c", "x"), ("/x", "--id=a"), (PROGRAM, "--id=a", "--ctx=many")])
def test_a_stranger_in_a_workers_unit_is_no_worker(words: tuple[str, ...]) -> None:
    with pytest.raises(NotAWorker):
        unit.plan_from_argv(words)


def test_the_socket_is_systemds_to_bind() -> None:
    assert unit.socket_properties(PLAN, PLACE)["ListenStream"] == "127.0.0.1:8001"


def test_limits_follow_the_plan() -> None:
    properties = unit.service_properties(dataclasses.replace(PLAN, cpu_percent=150), PLACE)
    assert properties["MemoryMax"] == 1 << 30
    assert properties["CPUQuota"] == 1.5
    assert properties["Slice"] == "rbee-workers.slice"
    assert "CPUQuota" not in unit.service_properties(PLAN, PLACE)


def test_life_follows_the_settings() -> None:
    properties = unit.service_properties(PLAN, PLACE)
    assert properties["WatchdogSec"] == 60
    assert properties["TimeoutStartSec"] == 300
    assert properties["TimeoutStopSec"] == 35
    assert properties["RestartPreventExitStatus"] == (64, 65, 78)
    assert properties["ExecStopPost"] == [[PROGRAM, "--post-mortem", "--id=worker-cpu-0"]]


def test_the_secret_is_a_credential_and_nowhere_else() -> None:
    properties = unit.service_properties(PLAN, PLACE)
    assert properties["LoadCredential"] == [("secret", "/run/rbee/workers/worker-cpu-0.secret")]
    assert "SetCredential" not in properties


def test_a_cpu_worker_sees_no_device() -> None:
    properties = unit.service_properties(PLAN, PLACE)
    assert properties["PrivateDevices"] is True
    assert properties["DeviceAllow"] == []
    assert properties["DevicePolicy"] == "closed"


def test_a_cuda_worker_sees_its_gpu_and_no_other() -> None:
    properties = unit.service_properties(CUDA, PLACE)
    assert properties["PrivateDevices"] is False
    assert properties["DeviceAllow"] == [
        ("/dev/nvidiactl", "rw"),
        ("/dev/nvidia-uvm", "rw"),
        ("/dev/nvidia-uvm-tools", "rw"),
        ("/dev/nvidia1", "rw"),
    ]


def test_a_rocm_worker_gets_its_render_node_and_the_group_that_may_open_it() -> None:
    properties = unit.service_properties(dataclasses.replace(PLAN, backend="rocm", gpu=2), PLACE)
    assert properties["DeviceAllow"] == [("/dev/kfd", "rw"), ("/dev/dri/renderD130", "rw")]
    assert properties["SupplementaryGroups"] == ["render", "video"]


def test_a_vulkan_worker_gets_the_nodes_of_the_vendor_whose_gpu_it_is() -> None:
    place = dataclasses.replace(PLACE, render_nodes=lambda: ("/dev/dri/renderD129",))

    def nodes(where: unit.Place, gpu: int, gpus: tuple[int, ...] = ()) -> list[str]:
        properties = unit.service_properties(dataclasses.replace(PLAN, backend="vulkan", gpu=gpu, gpus=gpus), where)
        assert properties["SupplementaryGroups"] == ["render", "video"]
        allowed = properties["DeviceAllow"]
        assert isinstance(allowed, list)
        return [node for node, _ in allowed]

    shared = ["/dev/nvidiactl", "/dev/nvidia-modeset"]
    assert nodes(place, gpu=0) == ["/dev/dri/renderD129"]
    assert nodes(place, gpu=1) == [*shared, "/dev/nvidia1"]  # 129 is AMD's
    assert nodes(PLACE, gpu=0) == [*shared, "/dev/nvidia0", "/dev/dri/renderD128"]
    assert nodes(PLACE, gpu=0, gpus=(0, 1)) == [
        *shared, "/dev/nvidia0", "/dev/dri/renderD128", "/dev/nvidia1", "/dev/dri/renderD129",
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "home"), [("/models/x.gguf", "yes"), ("/home/ann/x.gguf", "read-only")])
def test_homes_are_hidden_unless_the_model_is_in_one(path: str, home: str) -> None:
    plan = dataclasses.replace(PLAN, model_paths=(path,))
    assert unit.service_properties(plan, PLACE)["ProtectHome"] == home


def test_a_users_manager_is_not_asked_for_what_it_cannot_do() -> None:
    properties = unit.service_properties(CUDA, USER_PLACE)
    for beyond in ("DynamicUser", "DevicePolicy", "DeviceAllow", "CapabilityBoundingSet", "PrivateNetwork"):
        assert beyond not in properties
    assert properties["ProtectHome"] == "read-only"
    assert properties["LoadCredential"] == [("secret", "/run/user/1000/rbee/workers/worker-cuda-1.secret")]


@pytest.mark.parametrize("plan", [PLAN, CUDA, dataclasses.replace(PLAN, backend="vulkan")], ids=lambda p: p.backend)
def test_exposure_is_at_most_three(plan: WorkerPlan, tmp_path: Path) -> None:
    file = tmp_path / "worker.service"
    file.write_text(unit.render(unit.service_properties(plan, PLACE)))
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("place", [PLACE, USER_PLACE], ids=lambda p: p.mode)
def test_systemd_understands_every_line(place: unit.Place, tmp_path: Path) -> None:
    real = dataclasses.replace(place, program="/usr/bin/true")
    file = tmp_path / "worker.service"
    file.write_text(unit.render(unit.service_properties(dataclasses.replace(CUDA, cpu_percent=150), real)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CPUQuota=150%" in file.read_text()
