"""Room for models."""

from rbee.verify.facts import Facts
from rbee.verify.options import MODELS
from rbee.verify.unmet import does_not_apply, require

LEAST = 0.05


def test_models_have_room(facts: Facts) -> None:
    """More than 5 % of the models' file system is free"""
    disk = facts["disk"]
    free = disk["free"] / disk["total"] if disk["total"] else 1.0
    found = f"{free:.1%} of {disk['total']} bytes at {disk['path']}"
    require(
        found, "more than 5 %", holds=free > LEAST, mend=f"df -h {disk['path']}; rbee-hive models list", nixos=MODELS
    )


def test_models_have_inodes(facts: Facts) -> None:
    """More than 5 % of its inodes are free"""
    disk = facts["disk"]
    if not disk["inodes"]:
        does_not_apply(f"the file system at {disk['path']} does not count inodes")
    free = disk["inodes_free"] / disk["inodes"]
    require(
        f"{free:.1%} of {disk['inodes']}",
        "more than 5 %",
        holds=free > LEAST,
        mend=f"df -i {disk['path']}",
        nixos=MODELS,
    )


def test_models_can_be_written(facts: Facts) -> None:
    """The models' file system is not read-only"""
    disk = facts["disk"]
    mend = f"mount -o remount,rw $(findmnt -no TARGET -T {disk['path']})"
    require("read-only" if disk["read_only"] else "writable", "writable", mend=mend, nixos=MODELS)
