"""The final state's name is the worst outcome; run in a process of its own, because Prefect is slow to import."""

from __future__ import annotations

import subprocess
import sys

CASES = """
from orchestration.errors import ConfigurationError
from orchestration.prefect_flows import final_state
from orchestration.values import Outcome, Release

def state(*outcomes):
    made = final_state.of([Release("flow", "dev", "abc", outcome) for outcome in outcomes])
    return made.name, made.type.value

assert state(Outcome.RELEASED) == ("Released", "COMPLETED")
assert state(Outcome.UNCHANGED) == ("Unchanged", "COMPLETED")
assert state(Outcome.EVALUATED) == ("Evaluated", "COMPLETED")
assert state(Outcome.REJECTED) == ("Rejected", "COMPLETED")
assert state(Outcome.INCONCLUSIVE) == ("Inconclusive", "COMPLETED")
assert state(Outcome.BROKEN) == ("Broken", "FAILED")
assert state(Outcome.ROLLED_BACK) == ("RolledBack", "FAILED")
assert state(Outcome.UNCHANGED, Outcome.RELEASED, Outcome.REJECTED) == ("Rejected", "COMPLETED")
assert state(Outcome.RELEASED, Outcome.BROKEN, Outcome.ROLLED_BACK) == ("Broken", "FAILED")
refused = final_state.refused(ConfigurationError("no such key", cure="Write another."))
assert (refused.name, refused.type.value, refused.message) == ("Refused", "FAILED", "no such key Write another.")
assert set(o for o, *_ in final_state.ORDER) == set(Outcome)
"""


def test_names_and_types_of_final_states() -> None:
    done = subprocess.run([sys.executable, "-c", CASES], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
