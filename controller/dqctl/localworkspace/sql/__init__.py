"""From a Databricks statement to what the catalog does or the engine can run."""
