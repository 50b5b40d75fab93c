"""A Databricks-compatible workspace on this machine; imports nothing else of dqctl."""
