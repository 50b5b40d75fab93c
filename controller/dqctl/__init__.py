"""dqctl: data quality for Databricks without a service to babysit."""

__version__ = "0.1.0"
