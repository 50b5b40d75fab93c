"""What clients speak: Thrift for the SQL connectors, REST for the SDK; both answer from ``contract.Lakehouse``."""
