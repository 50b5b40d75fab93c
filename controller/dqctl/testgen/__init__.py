"""TestGen as it really behaves: versions, provisioning, jobs, its metadata."""
