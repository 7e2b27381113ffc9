"""TLS from two PEM files for queen and pools, and clients that believe nobody else."""

import pytest

from tests.fleet.house import CONFIG, House
from tests.rig.waiting import wait_for

OPENSSL = r"""
set -e; umask 077; mkdir -p /etc/rbee/tls; cd /etc/rbee/tls
[ -e ca.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout ca.key \
    -out ca.crt -subj "/CN=house" -addext basicConstraints=critical,CA:TRUE 2>/dev/null
for host in $*; do
    name=${host%=*} ip=${host#*=}
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key \
        -out $name.csr -subj "/CN=$name" 2>/dev/null
    printf 'subjectAltName=IP:%s,DNS:%s\n' $ip $name >$name.ext
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext \
        -out $name.crt 2>/dev/null
done
"""
DROP_IN = "[Service]\nLoadCredential=tls.crt:/etc/rbee/tls.crt\nLoadCredential=tls.key:/etc/rbee/tls.key\n"


@pytest.fixture(scope="module")
def sealed(house: House) -> House:
    """blep's queen and mac's pool speak TLS; a CA of the house signed both."""
    blep, mac = house.blep, house.hosts["mac"]
    blep.run(["sh", "-c", OPENSSL, "sh", f"blep={blep.ip}", f"mac={mac.ip}"])
    for host, unit in ((blep, "rbee-queen"), (mac, "rbee-pool")):
        for kind, mode in (("crt", 0o644), ("key", 0o600)):
            host.write(f"/etc/rbee/tls.{kind}", blep.read(f"/etc/rbee/tls/{host.name}.{kind}"), mode=mode)
        host.write("/etc/rbee/ca.crt", blep.read("/etc/rbee/tls/ca.crt"))
        host.write(f"/etc/systemd/system/{unit}.service.d/tls.conf", DROP_IN)
        host.run(["systemctl", "daemon-reload"])
    queen = f'[queen]\ntls_ca = "/etc/rbee/ca.crt"\n[keeper]\nqueen = "https://{blep.ip}:8080"\n'
    house.configure(queen + 'tls_ca = "/etc/rbee/ca.crt"\n')
    mac.write(CONFIG, '[pool]\ntls_ca = "/etc/rbee/ca.crt"\n[hive]\ntls_ca = "/etc/rbee/ca.crt"\n')
    house.rbee("orchestrator", "listen", "8080")
    house.rbee("pool", "register", "mac", "--ssh", "mac", "--url", f"https://{mac.ip}:9200")
    return house


def test_a_job_runs_over_tls(sealed: House) -> None:
    answer = sealed.rbee_json("jobs", "submit", "--model=tiny", "--prompt=hello", "--pool=mac", "--max-tokens=4")
    assert (answer["state"], answer["pool"]) == ("completed", "mac")
    [pool] = [pool for pool in sealed.rbee_json("pool", "list") if pool["id"] == "mac"]
    assert pool["url"].startswith("https://")
    assert sealed.rbee_json("pool", "state", "--host", "mac", "--http")[0]["ok"]
    assert sealed.lab("mac").hive_json("status", "--http")["id"] == "mac"


def test_a_server_that_nobody_vouches_for_is_told_nothing(sealed: House) -> None:
    text = sealed.blep.read(CONFIG)
    keeper = text.index("[keeper]")
    sealed.blep.write(CONFIG, text[:keeper] + text[keeper:].replace('tls_ca = "/etc/rbee/ca.crt"\n', "", 1))
    done = sealed.rbee("jobs", "list", check=False)
    sealed.blep.write(CONFIG, text)
    assert done.returncode == 69
    assert "is not trusted: " in done.stderr
    assert "hint: set tls_ca to the PEM file" in done.stderr


def test_a_name_that_is_not_in_the_certificate_is_not_trusted(sealed: House) -> None:
    env = {"RBEE_KEEPER_QUEEN": "https://localhost:8080"}
    done = sealed.blep.run(["rbee", "jobs", "list"], env=env, check=False)
    assert (done.returncode, "is not trusted" in done.stderr) == (69, True)


def test_plain_http_is_not_answered(sealed: House) -> None:
    done = sealed.blep.run(["rbee", "jobs", "list"], env={"RBEE_KEEPER_QUEEN": "http://127.0.0.1:8080"}, check=False)
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr


def test_a_key_that_is_not_the_certificates_stops_the_start_and_says_so(sealed: House) -> None:
    mac = sealed.hosts["mac"]
    key = mac.read("/etc/rbee/tls.key")
    mac.write("/etc/rbee/tls.key", sealed.blep.read("/etc/rbee/tls/blep.key"), mode=0o600)
    mac.run(["systemctl", "restart", "rbee-pool.service"], check=False)
    wait_for(lambda: "belong together" in mac.journal("-u", "rbee-pool"), "the reason in the journal", 20)
    assert mac.unit_property("rbee-pool.service", "ExecMainStatus") == "78"
    mac.write("/etc/rbee/tls.key", key, mode=0o600)
    mac.run(["systemctl", "reset-failed", "rbee-pool.service", "rbee-pool.socket"], check=False)
    mac.run(["systemctl", "start", "rbee-pool.socket", "rbee-pool.service"])
    assert sealed.rbee_json("pool", "state", "--host", "mac", "--http")[0]["ok"]
