"""What the Makefile does, for the parts that are more than a line. Standard library only."""
