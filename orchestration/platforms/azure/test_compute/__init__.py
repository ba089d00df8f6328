"""The compute instance of one run, with its identity, that identity's role, and the runtime on it."""
