"""rbee-broker: lets user rbee start, stop and list workers in the system manager, and nothing else."""
