"""The only SQL of rbee. Its functions take and give wire values; no row leaves."""
