"""`sluice doctor`"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from orchestration.cli.doctor_services import damaged_endpoints, ports, prefect_server
from orchestration.cli.options import AsJson, Environment
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.settings import Settings, find_root, load_settings
from orchestration.steps import doctor_azure, doctor_machine, doctor_project
from orchestration.steps.doctor import Check, Level, checks_text


def doctor(*, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Check machine, configuration, prompt flows, connections, ports, versions and services; changes nothing.

    With `platform: azure` also sign-in, workspace, roles, quota, endpoints and models, the latter by one tiny request.

    Exit codes: 0 without a FAIL, 64 if the configuration is at fault, else 1.

    Example: sluice doctor -e prod
    """
    checks = list(_checks(environment))
    failed = [each for each in checks if each.level is Level.FAIL]
    code = Exit.OK
    if failed:
        code = Exit.USAGE if any(each.configuration for each in failed) else Exit.ERROR
    data = {"environment": environment, "ok": not failed, "checks": [asdict(each) for each in checks]}
    return Reply(checks_text(checks), data, code)


def _checks(environment: str) -> Iterator[Check]:
    """First what is wrong with the files: without settings nothing else can be looked at."""
    root = find_root()
    found = list(doctor_project.configured(root))
    try:
        settings = load_settings(root, environment)
    except ConfigurationError:
        if all(each.level is Level.OK for each in found):
            raise  # an environment that doesn't exist
        yield from found
        return
    yield from doctor_machine.machine(settings)
    yield from found
    said = {each.message for each in found}
    yield from (each for each in _of(settings) if each.message not in said)


def _of(settings: Settings) -> Iterator[Check]:
    yield from doctor_project.resolving(settings)
    yield from doctor_project.prompt_flows(settings)
    yield from doctor_project.frozen_images(settings.root)
    today = datetime.now(UTC).date()
    yield doctor_project.retirement(doctor_project.frameworks_used(settings.root), today=today)
    if settings.platform == "azure":
        yield from doctor_azure.azure(settings)
    else:
        yield from damaged_endpoints(settings)
    yield from ports(settings)
    yield prefect_server(settings.root, settings.state)
