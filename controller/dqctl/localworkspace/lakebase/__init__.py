"""Lakebase on this machine: projects, each with a real PostgreSQL that is as strict as Databricks' own."""
