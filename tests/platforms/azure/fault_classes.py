"""How each case of the fault table must end: the class of the matrix by fault, and where a step knows better.

T transient: over by itself once, `PlatformUnavailable` for ever. C conflict: waited for where a write is in the way.
P propagation: an absence is believed when it is read twice. F fatal: said at once. U unknown: what can be read decides.
"""

from __future__ import annotations

import re

from release_cases import Case

DONE = "done"
CONFLICT, TIMEOUT, FAILED = "PlatformConflict", "PlatformTimeout", "ProvisioningFailed"
UNAVAILABLE, UNKNOWN, OTHER = "PlatformUnavailable", "OutcomeUnknown", "PlatformError"
ABSENT, CONFIGURATION = "ResourceNotFound", "ConfigurationError"
TRANSIENT = ("429", "500", "502", "503", "504")
BROKEN = ("reset before", "reset after commit", "truncated body")
LANDED = ("reset after commit", "truncated body", "wrong JSON")  # a write is done, though the answer does not say so
USUAL = {
    "400": OTHER,
    "401": "TokenRefused",
    "403": CONFIGURATION,
    "404": ABSENT,
    "409": CONFLICT,
    "412": CONFLICT,
    "wrong JSON": UNKNOWN,
    "delay": DONE,
    "stale read": DONE,
    "operation failed": FAILED,
    "operation never ends": TIMEOUT,
}
KEYS = r"POST (datastores/listSecrets|onlineEndpoints/listKeys)"
LOST = r"(reset before|reset after commit|truncated body)"
ASIDE = r"(GET onlineEndpoints|LIST deployments)"  # how azure-ai-ml reads an endpoint
CREATE = r"create-(and-wait-for-)?deployment"
# The first line that fits wins.
KNOWN = (
    # The smoke test and the watched steps judge the deployment: whatever it answers but what it should is a failure.
    (r".* / POST score / delay / .*", DONE),
    (rf".* / POST score / {LOST} / .*", UNAVAILABLE),
    (r".* / POST score / .*", FAILED),
    # The clients send a POST again after some statuses only, and never when its answer got lost.
    (rf".* / {KEYS} / 502 / once", UNAVAILABLE),
    (rf".* / {KEYS} / {LOST} / once", UNKNOWN),
    # Storage: what is not there yet is sent; an answer to HEAD has no body that would blame the token.
    (r".* / HEAD blob / (404|409) / .*", DONE),
    (r".* / HEAD blob / 401 / .*", CONFIGURATION),
    (r".* / .* blob / 429 / .*", UNAVAILABLE),
    (r".* / PUT blob / wrong JSON / .*", UNKNOWN),
    # Models: absent is what is to be registered; registered and not shown is worth another attempt.
    (r"register-model / GET models/versions / 404 / once", DONE),
    (r"register-model / GET models/versions / stale read / once", DONE),
    (r"register-model / GET models/versions / (404|stale read) / .*", UNAVAILABLE),
    (r"register-model / LIST models/versions / 404 / .*", DONE),
    (rf"register-model / PUT models/versions / ({LOST}|wrong JSON) / always", UNKNOWN),
    # An absence is a matter of the workspace only where nothing but the workspace can be missing.
    (r"(register-model|create-.*) / GET workspaces / 404 / .*", CONFIGURATION),
    # Absent is what is to be created, and what two readings don't find.
    (rf"create-endpoint / {ASIDE} / 404 / (once|behind)", DONE),
    (r"create-endpoint / GET onlineEndpoints / stale read / always", ABSENT),
    (r"(check-endpoint|shift-traffic|wait-for-deployment|create-.*) / GET deployments / 404 / (once|behind)", DONE),
    (r"(check-endpoint|create-deployment) / GET deployments / 404 / always", DONE),
    (r"wait-for-deployment / GET deployments / stale read / always", ABSENT),
    (r"create-deployment / GET environments/versions / 404 / .*", DONE),
    (r"create-deployment / PUT deployments / operation .* / .*", DONE),  # the next step waits
    # The endpoint is there, and not every reading knows that yet.
    (rf"grant-endpoint-access / {ASIDE} / (404|stale read) / once", DONE),
    (r"grant-endpoint-access / GET onlineEndpoints / (404|stale read) / always", TIMEOUT),
    (r"grant-endpoint-access / LIST deployments / 404 / always", TIMEOUT),
    (r"grant-endpoint-access / GET roleAssignments / 404 / .*", DONE),
    # What reads after a write looks again: a reading may be older than the write.
    (rf"(shift-traffic|roll-back) / ({ASIDE}|GET deployments) / (404|409) / behind", DONE),
    (r"check-deployment / GET deployments / 404 / once", DONE),
    (r"check-deployment / GET deployments / (404|stale read) / always", FAILED),
    (r"(shift-traffic|check-deployment|roll-back) / GET onlineEndpoints / stale read / always", OTHER),
    (r"shift-traffic / GET deployments / 404 / always", OTHER),  # what shares the traffic can't serve
    (r"shift-traffic / GET deployments / stale read / always", CONFLICT),
    # What is gone need not be removed.
    (r"(roll-back|remove-old-deployments) / GET deployments / 404 / .*", DONE),
    (rf"roll-back / {ASIDE} / 404 / once", DONE),
    # Going back says both reasons in one error; a lost connection is worth another attempt.
    (r"roll-back / (GET workspaces|PUT .*|DELETE .*) / (409|412) / once", DONE),
    (r"roll-back / .* / (404|409|412) / .*", OTHER),
    (r"roll-back / PUT .* / operation .* / .*", OTHER),
    # Nobody waits for a removal or for a tag: what fails of it is done by the next run.
    (r".* / (DELETE|PATCH) deployments / operation .* / .*", DONE),
    # A PATCH is sent again after some statuses only, and its step is when its answer got lost.
    (r".* / PATCH .* / 502 / once", UNAVAILABLE),
    (r".* / PATCH .* / (reset before|reset after commit|wrong JSON) / .*", UNKNOWN),
    (r"mark-as-released / GET deployments / stale read / .*", ABSENT),
    (r"(mark-as-released|remove-.*) / (GET|PATCH|DELETE) deployments / (409|412) / once", DONE),
    (r"(mark-as-released|remove-.*) / (GET|PATCH|DELETE) deployments / (409|412) / always", TIMEOUT),
    (r"shift-traffic / (GET workspaces|PUT .*) / (409|412) / once", DONE),
    (r"shift-traffic / PUT .* / operation failed / .*", OTHER),
    # Something is in the way of a write: all that decides about it is looked at again until it is not.
    (r"grant-endpoint-access / .* / (409|412) / once", DONE),
    (r"grant-endpoint-access / .* / (409|412) / always", TIMEOUT),
    (r"check-endpoint / (GET workspaces|PUT .*) / (409|412) / once", DONE),
    (rf"check-endpoint / {ASIDE} / (404|409) / behind", DONE),
    (r"check-endpoint / PUT .* / operation failed / .*", OTHER),  # the map that is read back is another
    (r"create-endpoint / PUT .* / (409|412) / once", DONE),
    (r"create-endpoint / PUT .* / (409|412) / always", TIMEOUT),
    (rf"{CREATE} / ({ASIDE}|GET models.*|GET env.*|PUT .*) / (409|412) / once", DONE),
    (rf"{CREATE} / ({ASIDE}|GET models.*|GET env.*|PUT .*) / (409|412) / always", TIMEOUT),
)


def expected(case: Case) -> str:
    """The name of the error's class, or `done`."""
    for pattern, how in KNOWN:
        if re.fullmatch(pattern, str(case)):
            return how
    if case.fault in TRANSIENT:
        return UNAVAILABLE if case.when == "always" else DONE
    if case.writes and case.fault in LANDED:
        return DONE
    if case.fault in BROKEN:
        return UNKNOWN if case.when == "always" else DONE
    return USUAL[case.fault]
