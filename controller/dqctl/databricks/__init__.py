"""The one way to a Databricks workspace, a real one or the local one."""
