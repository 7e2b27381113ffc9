"""What several test packages share; no tests here."""
