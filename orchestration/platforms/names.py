"""Names of endpoints, online deployments and what a run makes: checked before anything is created, derived so that a rerun finds them."""

from __future__ import annotations

import re

from orchestration.errors import ConfigurationError
from orchestration.values import sha256

LONGEST = 32  # Azure's limit for endpoints and online deployments; the shortest is 3
# Azure's rule for compute instances: 3 to 24, a letter first, and behind each hyphen a letter somewhere.
INSTANCE = re.compile(r"[a-zA-Z](?!.*-[^a-zA-Z]*$)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
RUN = re.compile(r"sluice-r[0-9a-f]{12}")
_ALLOWED = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")


def check_name(kind: str, name: str) -> str:
    """Return `name` if Azure would take it for this kind; else raise `ConfigurationError`."""
    if 3 <= len(name) <= LONGEST and _ALLOWED.fullmatch(name):
        return name
    raise ConfigurationError(
        f"The {kind} name {name!r} is not valid: it needs 3 to {LONGEST} letters, digits or dashes, "
        "a letter first and no dash last.",
        cure=f"Use, for example, {shorten(name)!r}.",
    )


def endpoint_name(prompt_flow: str, environment: str) -> str:
    """The endpoint of a prompt flow in an environment: `web_classification`, `qa` -> `web-classification-qa`."""
    return shorten(f"{prompt_flow}-{environment}")


def deployment_name(content_hash: str, binding_hash: str, *, variant: str | None = None, attempt: int = 1) -> str:
    """The online deployment that serves this content under this binding: the same inputs give the same name.

    `attempt` above 1 names a further try beside a failed one that could not be removed.
    """
    binding = sha256(f"{binding_hash} {variant}") if variant else binding_hash
    name = f"d{content_hash[:10]}-{binding[:6]}"
    return name if attempt == 1 else f"{name}-{attempt}"


def run_name(run: str, prompt_flow: str) -> str:
    """What one prompt flow's evaluation makes for itself in one run: a name that is unique in a region, as Azure wants it.

    It follows from the run, so that a repeated step finds what it made before.
    """
    return f"sluice-r{sha256(f'{run} {prompt_flow}')[:12]}"


def shorten(text: str) -> str:
    """Any text as a valid name; what does not fit is replaced by a hash of the whole text."""
    clean = re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")
    if not clean[:1].isalpha():
        clean = f"e-{clean}".strip("-")
    if 3 <= len(clean) <= LONGEST:
        return clean
    return f"{clean[: LONGEST - 7].rstrip('-')}-{sha256(text)[:6]}"
