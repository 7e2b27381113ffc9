"""PostgreSQL on a rig host, as a unit, reachable by name and password."""

from tests.rig.host import Host
from tests.support.postgres import programs

PASSWORD = "a password for the house"
PASSWORD_FILE = "/etc/rbee/database-password"
CREDENTIAL = f"[Service]\nLoadCredential=database-password:{PASSWORD_FILE}\n"
_DATA = "/var/lib/postgresql/house"


def serve(host: Host) -> str:
    """Start a server with an empty database; return its URL."""
    binaries = programs()
    host.run(["install", "-d", "-o", "postgres", "-g", "postgres", "/var/lib/postgresql", "/run/postgresql"])
    host.run([f"{binaries}/initdb", "-N", "-A", "peer", "-E", "UTF8", "-D", _DATA], user="postgres", timeout=60)
    host.run(["sh", "-c", f"echo 'host all all 0.0.0.0/0 scram-sha-256' >> {_DATA}/pg_hba.conf"])
    server = [f"{binaries}/postgres", "-D", _DATA, "-c", "listen_addresses=*"]
    unit = ["systemd-run", "--quiet", "--unit=house-database", "--uid=postgres", "-p", "Type=notify", *server]
    host.run(unit, timeout=60)
    for statement in (f"CREATE ROLE rbee LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE rbee OWNER rbee"):
        host.run([f"{binaries}/psql", "-qc", statement], user="postgres")
    return f"postgresql://rbee@{host.name}/rbee"


def may_use(host: Host) -> None:
    """Give the queen of ``host`` the password, as docs/standby.md says."""
    host.write(PASSWORD_FILE, f"{PASSWORD}\n", mode=0o600)
    host.write("/etc/systemd/system/rbee-queen.service.d/database.conf", CREDENTIAL)
    host.run(["systemctl", "daemon-reload"])
