"""A stack on disk: its paths, its record, its secrets, its lock."""
