"""The libraries that all servers of a run compute with: those of the installed wheel, or those that one names."""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """``folder`` has libllama.so and what that needs of ggml."""

    folder: Path

    @classmethod
    def named(cls, folder: str) -> "Libraries":
        """Return those in ``folder``; in the wheel where that is empty.

        Raises:
            FileNotFoundError: there is no libllama.so.
        """
        found = cls(folder=Path(folder).resolve() if folder else _of_wheel())
        if not (found.folder / "libllama.so").exists():
            raise FileNotFoundError(f"no libllama.so in {found.folder}")
        return found

    @property
    def digest(self) -> str:
        """Tell these bytes from others."""
        sha = hashlib.sha256()
        for file in sorted(self.folder.glob("lib*.so")):
            sha.update(file.name.encode())
            sha.update(file.read_bytes())
        return sha.hexdigest()[:16]

    def environ(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return what a process needs to compute with them; ``given`` may say where a driver's libraries are."""
        behind = given.get("LD_LIBRARY_PATH", "")
        found = {
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(self.folder), behind])),
            "LLAMA_CPP_LIB_PATH": str(self.folder),
        }
        return found | {key: given[key] for key in ("PYTHONPATH", "CUDA_VISIBLE_DEVICES") if key in given}

    def loaded_by(self, pid: int) -> bool:
        """Say whether that process has libllama from here, and from nowhere else."""
        return set(_mapped(pid)) == {self.folder}


def _of_wheel() -> Path:
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.origin is None:
        raise FileNotFoundError("llama-cpp-python is not installed here")
    return Path(found.origin).parent.resolve() / "lib"


def _mapped(pid: int) -> Iterator[Path]:
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        path = Path(line.partition("/")[1] + line.partition("/")[2])
        if path.name.startswith("libllama.so"):
            yield path.parent
