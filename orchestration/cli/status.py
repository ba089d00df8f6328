"""`sluice status`"""

from __future__ import annotations

from orchestration.cli.options import AsJson, Environment
from orchestration.cli.reply import Reply
from orchestration.platforms import open_platform
from orchestration.prefect_flows import services
from orchestration.settings import find_root, load_settings
from orchestration.steps import serving


def status(*, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Show what each endpoint of an environment serves, and which services run.

    Example: sluice status -e local
    """
    root = find_root()
    settings = load_settings(root, environment)
    endpoints = serving.overview(open_platform(settings), environment)
    running = services.running(root, settings.state)
    lines = [line for endpoint in endpoints for line in serving.overview_text(endpoint)] or [
        f"No endpoint in {environment}. Next: sluice run -e {environment}"
    ]
    lines += [f"{name:15} {'running' if on else 'not running'}" for name, on in running.items()]
    return Reply("\n".join(lines), {"environment": environment, "endpoints": endpoints, "services": running})
