"""Every step of a release to Azure as one case to drive: the moment it starts from, the call, what traffic may look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from azure_emulator.faults import OperationFails
from azure_emulator.kinds import Resource
from cloud_moments import Moment
from release_world import Version, World, fresh_session, tags_of

from orchestration.errors import PlatformError
from orchestration.steps import register, rollout, stable
from orchestration.steps.stable import Green
from orchestration.steps.work import Work

Calls = tuple[tuple[str, str], ...]
WORKSPACE, DEPLOYMENT = ("GET", "workspaces"), ("GET", "deployments")
ENDPOINT: Calls = (("GET", "onlineEndpoints"), ("LIST", "deployments"))  # azure-ai-ml asks for both
DEPLOYMENT_ONLY: Calls = (DEPLOYMENT,)
BOTH = "create-and-wait-for-deployment"
MODEL: Calls = (("GET", "models/versions"),)
STORAGE = (("LIST", "datastores"), ("POST", "datastores/listSecrets"), ("HEAD", "blob"), ("PUT", "blob"))
# What a step may at the most wait for, by the settings of the project: see `AzureDeadlines`.
ON_ENDPOINT, ON_DEPLOYMENT, ON_ACCESS, ON_REMOVAL = 1200.0, 3600.0, 900.0, 1800.0
UPLOADS = 1800.0  # dozens of files: this clock adds up what happens at the same time
CLIENTS = 900.0  # what the clients' own attempts may add
VOLATILE = ("generation", "proven", "alias.dev")
OURS = ("models/versions", "environments/versions", "onlineendpoints", "onlineendpoints/deployments")


@dataclass(frozen=True)
class Step:
    """One step. `calls` are the requests that a clean run of it sends, as scenarios name them.

    `maps` are the traffic maps that may be seen while it runs, in their order: `blue` and `green` stand for the
    versions. `behind` are the reads that follow its write; `again` is what a second run does to get as far.
    """

    calls: Calls
    act: Callable[[Stage], object]
    maps: tuple[Mapping[str, int], ...]
    deadline: float = 0.0
    behind: Calls = ()
    again: Callable[[Stage], object] | None = None


@dataclass
class Stage:
    """A world with a version that serves, one that is to be released, and the moments that the steps start from."""

    world: World
    blue: Version
    green: Version
    moments: dict[str, Moment] = field(default_factory=dict)
    plan: Green | None = None

    @property
    def going(self) -> Green:
        assert self.plan is not None
        return self.plan

    def keeping_none(self) -> Work:
        """The release with `rollout.keep: 0`: whatever is old goes."""
        settings = self.green.work.settings
        rollouts = settings.rollout.model_copy(update={"keep": 0})
        return replace(self.green.work, settings=settings.model_copy(update={"rollout": rollouts}))

    def go_to(self, step: str, *, uploads: bool = True) -> None:
        """The moment before a step; `uploads`: with nothing uploaded, so that it is sent again."""
        self.moments[step].restore(self.world.cloud)
        if uploads:
            self.world.forget_uploads()
        fresh_session(self.world)

    def mark(self, *steps: str) -> None:
        moment = Moment.of(self.world.cloud)
        self.moments.update(dict.fromkeys(steps, moment))

    def shown(self, weights: Mapping[str, int]) -> dict[str, int]:
        """A map with the versions' deployments in it."""
        names = {"blue": self.blue.name, "green": self.green.name}
        return {names[name]: weight for name, weight in weights.items()}


def staged(world: World) -> Stage:
    """Go through a release, and keep the moment before each step."""
    blue, green = world.judged("blue"), world.judged("green")
    stage, clock = Stage(world, blue, green), world.clock
    world.cloud.scenario.replication_seconds = 0.0
    stage.mark("create-endpoint")
    rollout.ensure_endpoint(blue.work, clock=clock)
    stage.mark("grant-endpoint-access")
    blue.model = register.register_model(blue.work, blue.judged)
    world.release(blue)
    world.quiet()
    stage.mark("register-model")
    green.model = register.register_model(green.work, green.judged)
    stage.plan = stable.settle(green.work, clock=clock)
    stage.mark("create-deployment", BOTH)
    rollout.create_deployment(green.work, stage.going, green.judged, green.registered, clock=clock)
    stage.mark("wait-for-deployment")
    rollout.wait_for_deployment(green.work, stage.going, clock=clock)
    stage.mark("smoke-test", "shift-traffic")
    world.shift(green, stage.going, 50)
    stage.mark("roll-back", "check-endpoint")
    world.shift(green, stage.going, 100)
    stage.mark("check-deployment", "mark-as-released")
    rollout.finish(green.work, stage.going, green.judged, clock=clock)
    world.quiet()
    stage.mark("remove-old-deployments")
    return stage


def _create(stage: Stage) -> None:
    green = stage.green
    rollout.create_deployment(green.work, stage.going, green.judged, green.registered, clock=stage.world.clock)


def _wait(stage: Stage) -> None:
    rollout.wait_for_deployment(stage.green.work, stage.going, clock=stage.world.clock)


def _create_and_wait(stage: Stage) -> None:
    _create(stage)
    _wait(stage)


def _roll_back(stage: Stage) -> None:
    why = PlatformError("The reason.", cure="Next.")
    rollout.roll_back(stage.green.work, stage.going, stage.green.judged, why, clock=stage.world.clock)


BLUE, HALF, GREEN, TENTH = {"blue": 100}, {"blue": 50, "green": 50}, {"green": 100}, {"blue": 90, "green": 10}
STEPS: Mapping[str, Step] = {
    "register-model": Step(
        (*MODEL, ("LIST", "models/versions"), WORKSPACE, *STORAGE, ("PUT", "models/versions")),
        lambda stage: register.register_model(stage.green.work, stage.green.judged),
        (BLUE,),
        UPLOADS,
        MODEL,
    ),
    "create-endpoint": Step(
        (*ENDPOINT, WORKSPACE, ("PUT", "onlineEndpoints")),
        lambda stage: rollout.ensure_endpoint(stage.blue.work, clock=stage.world.clock),
        ({},),
        2 * ON_ENDPOINT,
        ENDPOINT,
    ),
    "grant-endpoint-access": Step(
        (*ENDPOINT, ("GET", "roleAssignments"), ("LIST", "roleAssignments"), ("PUT", "roleAssignments")),
        lambda stage: rollout.grant_access(stage.blue.work, clock=stage.world.clock),
        ({},),
        2 * ON_ACCESS,
    ),
    "check-endpoint": Step(
        (*ENDPOINT, DEPLOYMENT, WORKSPACE, ("PUT", "onlineEndpoints")),
        lambda stage: stable.settle(stage.green.work, clock=stage.world.clock),
        (HALF, BLUE),
        2 * ON_DEPLOYMENT + 2 * ON_ENDPOINT,
        ENDPOINT,
    ),
    "create-deployment": Step(
        (
            *(DEPLOYMENT, WORKSPACE, *ENDPOINT, *MODEL, ("GET", "environments/versions")),
            ("PUT", "deployments"),
        ),
        _create,
        (BLUE,),
        ON_DEPLOYMENT,
        again=_create_and_wait,
    ),
    "wait-for-deployment": Step((DEPLOYMENT,), _wait, (BLUE,), ON_DEPLOYMENT, again=_create_and_wait),
    BOTH: Step((("PUT", "deployments"),), _create_and_wait, (BLUE,), 2 * ON_DEPLOYMENT, DEPLOYMENT_ONLY),
    "smoke-test": Step(
        (*ENDPOINT, ("POST", "onlineEndpoints/listKeys"), ("POST", "score")),
        lambda stage: rollout.smoke_test(stage.green.work, stage.going),
        (BLUE,),
    ),
    "shift-traffic": Step(
        (
            *(*ENDPOINT, DEPLOYMENT, WORKSPACE, ("PUT", "onlineEndpoints")),
            *(("POST", "onlineEndpoints/listKeys"), ("POST", "score")),
        ),
        lambda stage: stage.world.shift(stage.green, stage.going, 10),
        (BLUE, TENTH),
        3 * (ON_DEPLOYMENT + 2 * ON_ENDPOINT),
        (*ENDPOINT, ("POST", "score")),
    ),
    "check-deployment": Step(
        (*ENDPOINT, DEPLOYMENT),
        lambda stage: rollout.check_deployment(stage.green.work, stage.going, clock=stage.world.clock),
        (GREEN,),
        ON_ENDPOINT,
    ),
    "roll-back": Step(
        (*ENDPOINT, DEPLOYMENT, WORKSPACE, ("PUT", "onlineEndpoints"), ("DELETE", "deployments")),
        _roll_back,
        (HALF, BLUE),
        3 * (ON_DEPLOYMENT + 2 * ON_ENDPOINT) + ON_REMOVAL,
        (*ENDPOINT, DEPLOYMENT),
    ),
    "mark-as-released": Step(
        (*ENDPOINT, DEPLOYMENT, ("PATCH", "deployments")),
        lambda stage: rollout.finish(stage.green.work, stage.going, stage.green.judged, clock=stage.world.clock),
        (GREEN,),
        ON_DEPLOYMENT,
    ),
    "remove-old-deployments": Step(
        (*ENDPOINT, DEPLOYMENT, ("DELETE", "deployments")),
        lambda stage: rollout.remove_old(stage.keeping_none(), stage.going, clock=stage.world.clock),
        (GREEN,),
        ON_REMOVAL,
    ),
}


def give_up(stage: Stage) -> None:
    """What never ended has failed by now: Azure gives it up after an hour."""
    for operation in stage.world.cloud.arm.operations.values():
        if operation.pending and operation.ends == float("inf"):
            operation.ends, operation.failure = stage.world.now, OperationFails()


def ours(stage: Stage) -> dict[str, Resource]:
    """Resources that a release may make, by path."""
    kinds = tuple(f"microsoft.machinelearningservices/workspaces/{each}" for each in OURS)
    wanted = (*kinds, "microsoft.authorization/roleassignments")
    found = stage.world.cloud.arm.resources
    return {key: each for key, each in found.items() if each.id.type.lower() in wanted}


def fingerprint(stage: Stage) -> dict[str, object]:
    """What there is of ours in the cloud, without what is another one each time."""
    stage.world.quiet()
    return {key: _described(each) for key, each in ours(stage).items()}


def _described(resource: Resource) -> tuple[object, ...]:
    tags = {name: value for name, value in tags_of(resource.body).items() if name not in VOLATILE}
    has = tuple(name for name in VOLATILE if name in tags_of(resource.body))
    return resource.state, tags, has, resource.body["properties"].get("traffic")
