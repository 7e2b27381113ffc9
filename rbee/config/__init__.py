"""rbee.toml and what belongs to it: read once, by whoever is started."""

from rbee.config.paths import own_file, pool_id, state_dir
from rbee.config.reading import check, load
from rbee.config.secrets import read_database_password, read_token
from rbee.config.settings import DAY_S, Hive, Host, Keeper, Model, Pool, Queen, Settings, Worker

__all__ = [
    "DAY_S",
    "Hive",
    "Host",
    "Keeper",
    "Model",
    "Pool",
    "Queen",
    "Settings",
    "Worker",
    "check",
    "load",
    "own_file",
    "pool_id",
    "read_database_password",
    "read_token",
    "state_dir",
]
