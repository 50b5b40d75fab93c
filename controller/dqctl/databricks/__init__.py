"""Databricks: whom to talk to, and a warehouse session that says what went wrong."""
