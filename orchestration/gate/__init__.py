"""The gate: pure functions from an evaluation and the rules to a verdict. No input or output."""

from orchestration.gate.metrics import Prices
from orchestration.gate.verdict import Floors, GateResult, decide

__all__ = ["Floors", "GateResult", "Prices", "decide"]
