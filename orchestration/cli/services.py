"""`sluice up` and `sluice down`"""

from __future__ import annotations

import sys

from orchestration.cli.options import AsJson, Environment
from orchestration.cli.reply import Reply
from orchestration.platforms import stop_endpoints
from orchestration.prefect_flows import services
from orchestration.prefect_flows.private_server import credentials
from orchestration.settings import find_root, load_settings


def up(*, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Start the Prefect server, a worker, the deployments of prefect.yaml and the MLflow UI.

    Example: sluice up && prefect deployment run evaluate-deploy/dev --watch
    """
    root = find_root()
    settings = load_settings(root, environment)
    started = services.up(root, settings.state, port=settings.prefect.port, say=_say)
    lines = [f"Prefect UI  {started.server.ui_url}", f"MLflow UI   {started.mlflow_url}"]
    if started.server.own and credentials(root) is not None:
        lines.append("The Prefect UI asks for a password: the auth_string in prefect.toml.")
    lines.append("Now: prefect deployment run evaluate-deploy/dev --watch")
    data = {"prefect_ui": started.server.ui_url, "api_url": started.server.api_url, "mlflow_ui": started.mlflow_url}
    return Reply("\n".join(lines), data)


def down(*, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Drain and end the worker, the servers and every endpoint's process. Files and registered versions stay.

    Example: sluice down
    """
    root = find_root()
    settings = load_settings(root, environment)
    ended = services.down(root, settings.state, say=_say) + stop_endpoints(settings.state, say=_say)
    return Reply(f"Ended: {', '.join(ended) or 'nothing was running'}", {"ended": ended})


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
