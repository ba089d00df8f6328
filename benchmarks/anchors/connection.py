"""Runs in promptflow's environment: makes the connection `aoai` to the address that the command line names."""

from __future__ import annotations

import sys

from promptflow.client import PFClient
from promptflow.entities import OpenAIConnection

PFClient().connections.create_or_update(OpenAIConnection(name="aoai", api_key="none", base_url=sys.argv[1]))
