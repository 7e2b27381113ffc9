"""The moment an idle worker goes: whoever comes just then is answered, by it or by its successor."""

import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

from rbee.adapters.places import SYSTEM_SECRETS
from tests.systemd.lab import Lab, network_of

ROUNDS, CALLERS = 8, 4
IDLE_S = 1


def test_no_request_is_lost_to_a_worker_that_falls_asleep(lab: Lab) -> None:
    lab.give_tiny()
    worker = lab.spawn("tiny", "--idle", str(IDLE_S))["id"]
    secret = lab.host.read(f"{SYSTEM_SECRETS}/{worker}.secret").strip()
    chance = random.Random(4)
    for _ in range(ROUNDS):
        # Around the end of its second of idleness; some connect first and ask a little later.
        pauses = [(chance.uniform(0.95, 1.25), chance.choice([0, chance.uniform(0, 0.4)])) for _ in range(CALLERS)]
        with ThreadPoolExecutor(CALLERS) as threads:
            answers = list(threads.map(lambda pause: _ask(lab, secret, *pause), pauses))
        assert [status for status, _ in answers] == [200] * CALLERS
        assert all("event: end" in said for _, said in answers)
    assert lab.host.journal(f"WORKER={worker}").count("worker.idle") >= 2, "it never fell asleep between requests"
    assert lab.show(f"rbee-{worker}.service", "NRestarts") == "0"


def _ask(lab: Lab, secret: str, before_s: float, connected_s: float) -> tuple[int, str]:
    """Have two tokens made; the pauses are what is tested, and wait for nothing."""
    time.sleep(before_s)
    with network_of(lab.host):
        caller = http.client.HTTPConnection("127.0.0.1", 8001, timeout=30)
        try:
            caller.connect()
            time.sleep(connected_s)
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            caller.request("POST", "/v1/inference", json.dumps({"prompt": "abc", "max_tokens": 2}), headers)
            with caller.getresponse() as answer:
                return answer.status, answer.read().decode()
        finally:
            caller.close()
