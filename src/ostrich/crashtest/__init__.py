"""The crash test: probes, gates and the report."""
