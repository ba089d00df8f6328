"""Benchmarks: Sluicegate beside its peers, in one run. `python -m benchmarks`; docs/performance.md says how."""
