"""DataOps Observability as a receiver of test outcomes: what it takes (``events``), and handing it over (``client``)."""
