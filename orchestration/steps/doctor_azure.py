"""Checks of the Azure Machine Learning workspace: what a release will need, each looked at whatever the others say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestration.candidates import list_prompt_flows
from orchestration.errors import ConfigurationError, PlatformError, SluiceError
from orchestration.platforms import open_platform
from orchestration.platforms.base import OWNER_TAG, Endpoint
from orchestration.platforms.names import check_name, endpoint_name
from orchestration.settings import Settings
from orchestration.settings.azure import OWN
from orchestration.settings.azure_account import azure_section, workspace_id
from orchestration.steps import connections
from orchestration.steps.doctor import Check, Level, fail, misconfigured, ok, warn
from orchestration.steps.look import looked_at
from orchestration.values import Request

if TYPE_CHECKING:
    from orchestration.platforms.azure.workspace import Session

ML: Final = "Microsoft.MachineLearningServices/workspaces"
SCIENTIST, ADMINISTRATOR = "AzureML Data Scientist", "Role Based Access Control Administrator"
SETUP: Final = "docs/azure-setup.md"


def _actions(resource: str, *verbs: str) -> tuple[str, ...]:
    return tuple(f"{ML}/{resource}/{verb}" for verb in verbs)


# What a run does in the workspace, the role that is made for it, and the actions it consists of.
EVALUATION: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "evaluate": (SCIENTIST, (f"{ML}/read", *_actions("connections", "read", "listsecrets/action"))),
    "record decisions": (
        SCIENTIST,
        (
            *_actions("experiments", "read", "write", "runs/read", "runs/write"),
            *_actions("datastores", "read", "listsecrets/action"),
        ),
    ),
}
RELEASE: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "register": (
        SCIENTIST,
        (*_actions("models", "versions/read", "versions/write"), *_actions("environments", "read", "write")),
    ),
    "deploy": (
        SCIENTIST,
        (
            *_actions("onlineEndpoints", "read", "write", "listKeys/action"),
            *_actions("onlineEndpoints/deployments", "read", "write", "delete", "getLogs/action"),
        ),
    ),
}
ACCESS: Final = (
    ADMINISTRATOR,
    ("Microsoft.Authorization/roleAssignments/read", "Microsoft.Authorization/roleAssignments/write"),
)


def azure(settings: Settings) -> Iterator[Check]:
    """All checks. Without a sign-in the service is not asked for more; what stands in files is checked all the same."""
    yield frozen_image(settings)
    signed = _guarded("sign-in", partial(_sign_in, settings))
    yield signed
    names = list_prompt_flows(settings.root)
    if signed.level is Level.FAIL:
        yield from (_guarded("endpoint", partial(_endpoint_name, settings, name)) for name in names)
        yield warn("workspace", "not looked at, as nobody is signed in")
        return
    yield _guarded("workspace", partial(_workspace, settings))
    yield from _many("roles", partial(_roles, settings))
    for name in names:
        yield from _many("quota", partial(_quota, settings, name))
        yield _guarded("endpoint", partial(_endpoint, settings, name))
    yield from _of_connections(settings, names)


def frozen_image(settings: Settings) -> Check:
    """Microsoft's images for prompt flow get no security updates any more."""
    image = azure_section(settings).image
    if image == OWN:
        return ok("image", "built from the prompt flow's lock")
    return warn("image", f"{image} is frozen: it gets no security updates", "Write azure.image: own.")


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """What a check finds, or why it can't look."""
    try:
        return look()
    except ConfigurationError as error:
        return misconfigured(name, error)
    except SluiceError as error:
        return fail(name, error.message, error.cure)


def _many(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The same for a check with several findings."""
    try:
        yield from look()
    except ConfigurationError as error:
        yield misconfigured(name, error)
    except SluiceError as error:
        yield fail(name, error.message, error.cure)


def _session(settings: Settings) -> Session:
    from orchestration.platforms.azure.workspace import open_session  # noqa: PLC0415 - only where Azure is used

    return open_session(settings)


def _sign_in(settings: Settings) -> Check:
    from orchestration.platforms.azure.inspection import signed_in  # noqa: PLC0415 - only where Azure is used

    found, kind = signed_in(_session(settings)), azure_section(settings).credential.kind
    return ok("sign-in", f"{found.name} (object {found.object_id or 'unknown'}), by {kind}")


def _workspace(settings: Settings) -> Check:
    found = _session(settings).details()
    return ok("workspace", f"{found.name} in {found.location}, resource group {found.resource_group}")


def _roles(settings: Settings) -> Iterator[Check]:
    """One line per thing that may not be done; one for all if all may be."""
    from orchestration.platforms.azure.inspection import missing_actions, signed_in  # noqa: PLC0415

    session, wanted = _session(settings), _wanted(settings)
    actions = [action for _, each in wanted.values() for action in each]
    missing = set(missing_actions(session, actions))
    for what, (role, needed) in wanted.items():
        lacking = [action for action in needed if action in missing]
        if lacking:
            yield fail(
                "roles",
                f"may not {what}: {', '.join(lacking)}",
                _assignment(settings, signed_in(session).object_id, role),
            )
    if not missing:
        yield ok("roles", f"may {', '.join(wanted)}")


def _wanted(settings: Settings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What this environment's runs do."""
    wanted = dict(EVALUATION)
    if settings.evaluate_only:
        return wanted
    wanted |= RELEASE
    return {**wanted, "let endpoints read connections": ACCESS} if azure_section(settings).grant_access else wanted


def _assignment(settings: Settings, object_id: str, role: str) -> str:
    own = "or write azure.grant_access: false and let an administrator do it; " if role == ADMINISTRATOR else ""
    scope = workspace_id(settings).arm_id
    command = f"az role assignment create --assignee-object-id {object_id} --role '{role}' --scope {scope}"
    return f"{SETUP} says who needs what; {own}an administrator runs: {command}"


def _quota(settings: Settings, prompt_flow: str) -> Iterator[Check]:
    """Whether a second online deployment fits beside the one that serves."""
    from orchestration.platforms.azure.inspection import cores  # noqa: PLC0415 - only where Azure is used

    if settings.evaluate_only:
        return
    session, (instance_type, instances) = _session(settings), _size(settings, prompt_flow)
    found = cores(session, session.details().location, instance_type=instance_type, instances=instances)
    if found is None:
        cure = "Next: az ml compute list-sizes, and set instance_type in deployments/."
        yield warn("quota", f"{prompt_flow}: Azure lists no quota for {instance_type}", cure)
        return
    said = f"{prompt_flow}: {found.left} of {found.limit} cores are free, {instances} x {instance_type} needs {found.needed}"
    cure = (
        f"Ask for more of {found.family}, or set a smaller instance_type in deployments/{prompt_flow}/deployment.yaml."
    )
    yield ok("quota", said) if found.left >= found.needed else fail("quota", said, cure)


def _size(settings: Settings, prompt_flow: str) -> tuple[str, int]:
    """Instance type and count as the prompt flow's deployment files have them."""
    from orchestration.platforms.azure.deployment_files import read_document  # noqa: PLC0415 - only where Azure is used
    from orchestration.platforms.azure.render import DEPLOYMENT  # noqa: PLC0415

    with looked_at(Request(prompt_flow, settings.environment), check_dirty=False, root=settings.root) as work:
        found = read_document(work.candidate, "deployment", environment=settings.environment, defaults=DEPLOYMENT).data
        return str(found["instance_type"]), int(found["instance_count"])


def _endpoint_name(settings: Settings, prompt_flow: str) -> Check:
    name = settings.endpoint.name or endpoint_name(prompt_flow, settings.environment)
    return ok("endpoint", f"{prompt_flow}: {check_name(Endpoint.kind, name)} is a valid name")


def _endpoint(settings: Settings, prompt_flow: str) -> Check:
    """Whether the name is valid, and free or ours. That another workspace of the region has it, only Azure can say."""
    if settings.evaluate_only:
        return _endpoint_name(settings, prompt_flow)
    name = check_name(Endpoint.kind, settings.endpoint.name or endpoint_name(prompt_flow, settings.environment))
    found = open_platform(settings).get(Endpoint.kind, name)
    if found is None:
        return ok("endpoint", f"{prompt_flow}: {name} is not used in this workspace yet")
    owner = found.tags.get("prompt_flow"), found.tags.get("environment")
    if OWNER_TAG in found.tags and owner == (prompt_flow, settings.environment):
        return ok("endpoint", f"{prompt_flow}: {name} is {found.state}")
    whose = f"{owner[0]} in {owner[1]}" if OWNER_TAG in found.tags else "somebody else"
    return fail("endpoint", f"{prompt_flow}: {name} belongs to {whose}", "Set endpoint.name in config/ to another.")


def _of_connections(settings: Settings, prompt_flows: Iterable[str]) -> Iterator[Check]:
    """Each connection that a prompt flow uses: does the workspace give it, and does the model answer."""
    used: dict[str, None] = {}
    for prompt_flow in prompt_flows:
        try:
            with looked_at(Request(prompt_flow, settings.environment), check_dirty=False, root=settings.root) as work:
                used |= dict.fromkeys(work.binding.connections)
        except ConfigurationError:
            continue  # said by the check of that prompt flow
    for name in used:
        yield _guarded("connection", partial(_connection, settings, name))
        if settings.connections[name].kind == "workspace":
            yield _guarded("model", partial(_model, settings, name))


def _connection(settings: Settings, name: str) -> Check:
    kind = settings.connections[name].kind
    if kind != "workspace":
        text = f"{name}: an online deployment on Azure can't use a connection of kind {kind}"
        cure = f"Next: sluice connections create {name} -e {settings.environment}"
        return warn("connection", text, cure) if settings.evaluate_only else fail("connection", text, cure)
    host = urlsplit(connections.address(settings, name)).hostname
    return ok("connection", f"{name}: {settings.connections[name].name} in the workspace, {host or 'custom keys'}")


def _model(settings: Settings, name: str) -> Check:
    model = settings.connections[name].model_deployment
    if not model:
        return ok("model", f"{name}: prompt flows name the model deployment themselves")
    try:
        found = connections.check(settings, name)
    except PlatformError as error:
        return fail(
            "model", error.message, error.cure or "Check model_deployment: az cognitiveservices account deployment list"
        )
    return ok("model", f"{name}: {model} ({found.model}) answered in {found.seconds:.2f} s")
