"""GPUs on a rig host that has none: the fake NVML of tests/assets/nvml, and real workers that compute on the CPU.

What is FAKE: the driver, whose memory a worker seems to have from its start, and that llama.cpp was built for CUDA.
What is real: the pool, the queen, pynvml, the units, the ledger, and the workers' own lives.
"""

from pathlib import Path

from tests.assets import nvml
from tests.rig.host import Host

PROGRAM = "/opt/gpu/llm-worker-rbee"
SITE = "usr/local/lib/rbee/lib/python3.11/site-packages/llama_cpp/lib"
MIB = 1 << 20

# The process keeps the command line it was started with, by which the fake driver knows what it "uses".
WORKER = """#!/usr/local/lib/rbee/bin/python
import sys
of_gpus = ("--gpu=", "--split=")
sys.argv = [word.replace("--backend=cuda", "--backend=cpu") for word in sys.argv if not word.startswith(of_gpus)]
from rbee.llm_worker.main import main
main()
"""


def install(host: Host, folder: Path) -> None:
    """Give ``host`` a driver library, device nodes, and workers that seem to use a GPU."""
    library = nvml.build(folder)
    (host.root / f"usr/lib/x86_64-linux-gnu/{nvml.SONAME}").write_bytes(library.read_bytes())
    (host.root / SITE).mkdir(parents=True, exist_ok=True)
    (host.root / SITE / "libggml-cuda.so").touch()
    host.run(["install", "-m", "666", "/dev/null", "/dev/nvidiactl"])
    host.run(["install", "-d", "-m", "755", "/opt/gpu"])
    host.write(PROGRAM, WORKER, mode=0o755)
    host.write("/etc/rbee/rbee.toml", f'[worker]\nexec = "{PROGRAM}"\n')  # for direct commands
    for unit in ("rbee-pool", "rbee-broker"):
        host.write(
            f"/etc/systemd/system/{unit}.service.d/gpu.conf", f"[Service]\nEnvironment=RBEE_WORKER_EXEC={PROGRAM}\n"
        )
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", "rbee-pool.service", "rbee-broker.socket"], check=False)


def drive(host: Host, *lines: str, workers_mib: int = 350) -> None:
    """Let the driver say that; each worker takes ``workers_mib`` of its GPU."""
    host.write("/etc/nvml-scenario", nvml.scenario(*lines, nvml.line("workers", memory=workers_mib * MIB)))
