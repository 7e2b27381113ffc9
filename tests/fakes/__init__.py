"""In-memory stand-ins for the ports of the cores."""
