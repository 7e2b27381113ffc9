"""What `pool verify` says of cards, from what a pool tells of them: these machines have none."""

from typing import Any

import pytest

from rbee.verify import test_gpu
from rbee.verify.facts import Facts
from rbee.verify.unmet import Unmet
from rbee.wire import codec
from rbee.wire.pools import Gpu, GpuInventory

LOST = "it has fallen off the bus: dmesg | grep -i nvrm"


def host(*gpus: Gpu, cards: int, reason: str = "") -> Facts:
    on_bus = [f"0000:0{number + 1}:00.0" for number in range(cards)]
    answer: dict[str, Any] = {"gpus": codec.plain(GpuInventory(gpus=gpus, reason=reason))}
    return Facts({"gpus": {"cards": on_bus, "driver": "570.1", "nodes": {}}, "pool": {"answer": answer}})


def test_each_card_that_answers_counts_also_when_it_is_divided() -> None:
    divided = Gpu(index=1, name="H100", mig=True, problem="MIG is on")
    instance = Gpu(index=2, name="MIG", mig=True, parent=1, problem="an instance")
    test_gpu.test_nvml_answers(host(Gpu(index=0, name="H100"), divided, instance, cards=2))


def test_what_another_vendor_made_is_no_card_of_nvidias() -> None:
    test_gpu.test_nvml_answers(host(Gpu(index=0, name="RTX"), Gpu(index=0, name="Radeon", vendor="amd"), cards=1))
    with pytest.raises(Unmet) as caught:
        test_gpu.test_nvml_answers(host(Gpu(index=0, name="Radeon", vendor="amd"), cards=1))
    assert caught.value.finding.found == "0 of 1 cards"


def test_a_lost_card_is_named_with_what_is_wrong() -> None:
    with pytest.raises(Unmet) as caught:
        test_gpu.test_nvml_answers(host(Gpu(index=0, name="RTX"), Gpu(index=1, name="RTX", problem=LOST), cards=2))
    assert caught.value.finding.found == f"1 of 2 cards, gpu 1: {LOST}"


def test_no_cards_seen_have_the_pools_reason() -> None:
    with pytest.raises(Unmet) as caught:
        test_gpu.test_nvml_answers(host(cards=1, reason="NVML knows of no GPU"))
    assert caught.value.finding.found == "0 of 1 cards, NVML knows of no GPU"
