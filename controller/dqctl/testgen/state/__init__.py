"""The state of TestGen's metadata database: what changed, its schema, and how it becomes a database again."""
