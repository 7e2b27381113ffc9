"""Servers of models that others have made, on the very libraries that rbee's worker computes with."""
