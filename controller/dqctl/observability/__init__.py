"""DataOps Observability as a receiver of test outcomes: what it takes (``events``), sending it (``client``)."""
