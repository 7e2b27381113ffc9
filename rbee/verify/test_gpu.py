"""NVIDIA cards, where there are any."""

from typing import Any

from rbee.verify.facts import Facts
from rbee.verify.options import NVIDIA
from rbee.verify.unmet import does_not_apply, require


def test_driver_is_loaded(facts: Facts) -> None:
    """The NVIDIA driver is loaded"""
    _cards(facts)
    require(
        facts["gpus"]["driver"], "a driver", holds=bool(facts["gpus"]["driver"]), mend="modprobe nvidia", nixos=NVIDIA
    )


def test_nvml_answers(facts: Facts) -> None:
    """The pool sees every card through NVML"""
    cards = _cards(facts)
    _driver(facts)
    answer = facts["pool"]["answer"]
    if answer is None:
        does_not_apply("the pool does not say what it sees: see network.pool_answers")
    seen = _seen(answer["gpus"]["gpus"])
    wrong = [answer["gpus"]["reason"], *(_lost(gpu) for gpu in seen)]
    well = len([gpu for gpu in seen if not _lost(gpu)])
    found = ", ".join([f"{well} of {len(cards)} cards", *filter(None, wrong)])
    require(
        found, f"{len(cards)} cards", holds=well == len(cards), mend="nvidia-smi -L; rbee-hive gpu status", nixos=NVIDIA
    )


def test_device_nodes_are_usable(facts: Facts) -> None:
    """Workers may open the cards' device nodes"""
    _cards(facts)
    _driver(facts)
    nodes = facts["gpus"]["nodes"]
    wrong = {name: node.get("mode", "?") for name, node in nodes.items() if node.get("mode", "")[-1:] not in ("6", "7")}
    missing = {name: "missing" for name in ("/dev/nvidiactl", "/dev/nvidia-uvm") if name not in nodes}
    mend = "nvidia-modprobe -u -c=0" if missing else f"chmod 666 {' '.join(wrong)}"
    require(wrong | missing, "all there, mode 0666", holds=not wrong | missing, mend=mend, nixos=NVIDIA)


def _seen(gpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cards among what a pool calls GPUs: also those of other vendors, and instances, are in its list."""
    return [gpu for gpu in gpus if gpu.get("vendor", "nvidia") == "nvidia" and gpu.get("parent") is None]


def _lost(gpu: dict[str, Any]) -> str:
    """Return why a card does not answer; one that is divided does."""
    return f"gpu {gpu['index']}: {gpu['problem']}" if gpu.get("problem") and not gpu.get("mig") else ""


def _cards(facts: Facts) -> list[str]:
    cards: list[str] = facts["gpus"]["cards"]
    if not cards and not facts["gpus"]["driver"]:
        does_not_apply("no NVIDIA card on this host")
    return cards


def _driver(facts: Facts) -> None:
    if not facts["gpus"]["driver"]:
        does_not_apply("no driver is loaded: see gpu.driver_is_loaded")
