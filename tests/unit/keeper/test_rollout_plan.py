from pathlib import Path

import pytest

from rbee.errors import Conflict, InvalidRequest, NotFound
from rbee.keeper.rolling import stopped
from rbee.keeper.rollout_plan import Deployment, Plan, PlanFile

ROLLOUT = Plan(hosts=("mac", "blep"), command=("true",))
DEPLOY = Plan(hosts=("mac", "blep"), deployment=Deployment(flake="/home/me/house", auto_rollback=True))


@pytest.mark.parametrize("plan", [ROLLOUT, DEPLOY])
def test_a_plan_is_kept_until_its_last_host_is_through(tmp_path: Path, plan: Plan) -> None:
    file = PlanFile(tmp_path)
    found = plan.found("mac", ["system.no_other_unit_failed"], "/nix/store/a").found("mac", [], "/nix/store/b")
    assert (dict(found.failed_before), dict(found.was)) == (
        {"mac": ("system.no_other_unit_failed",)},
        {"mac": "/nix/store/a"},
    ), "what was found at first stays"
    file.write(found)
    assert file.read() == found
    file.write(found.through("mac"))
    assert file.read().left == ("blep",)
    file.write(found.through("mac").through("blep"))
    with pytest.raises(NotFound, match="no rollout has stopped, and no deploy"):
        file.read()


def test_each_resumes_its_own(tmp_path: Path) -> None:
    file = PlanFile(tmp_path)
    for plan, other in ((ROLLOUT, "deploy"), (DEPLOY, "rollout")):
        file.write(plan)
        assert stopped(file, plan.verb) == plan
        with pytest.raises(Conflict, match=f"what has stopped is a {plan.verb}, at mac") as caught:
            stopped(file, other)
        assert caught.value.hint == f"rbee-keeper pool {plan.verb} --resume"
        with pytest.raises(Conflict, match=f"^a {plan.verb} has stopped at mac, with 2 of its hosts to go"):
            file.require_none(again=False)
        file.require_none(again=True)


def test_a_file_from_before_there_were_deploys_is_a_rollout(tmp_path: Path) -> None:
    (tmp_path / "rollout.json").write_text('{"hosts": ["mac"], "command": ["true"], "done": [], "failed_before": {}}')
    assert PlanFile(tmp_path).read() == Plan(hosts=("mac",), command=("true",))
    (tmp_path / "rollout.json").write_text('{"hosts": 3}')
    with pytest.raises(InvalidRequest, match=r"rollout\.json: hosts"):
        PlanFile(tmp_path).read()
