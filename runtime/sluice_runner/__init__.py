"""The runner: it runs one prompt flow inside the flow's own environment and speaks docs/runner-protocol.md.

It uses the standard library only, so that installing it never moves a version in a prompt flow's environment.
"""

PROTOCOL = 1
