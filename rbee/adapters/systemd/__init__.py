"""systemd over D-Bus: the only user of pystemd."""
