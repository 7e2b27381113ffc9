"""The entry of pool-managerd: read the settings, build what is needed, serve."""

USAGE = """
pool-managerd: this host's workers, models and GPUs over HTTP, and a heartbeat to the queen.

Usage:
  pool-managerd [options]

Under systemd it listens on the socket of rbee-pool.socket; by hand, where --bind or [pool] bind says.

Options:
  --config=<file>   Read this rbee.toml.
  --bind=<addr>     Listen there, host:port.
  --check-config    Check the settings, say what is wrong, and exit: 0, or 78.
  --debug           Log more.
  -h, --help        Show this.
  --version         Show the version.
"""
