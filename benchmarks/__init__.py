"""Ours against other libraries, measured side by side: `python -m benchmarks.bench`."""
