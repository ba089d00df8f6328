"""Runs of prompt flow's own service. That becomes read-only on 2027-04-20: then this folder goes, with what opens it."""
