"""Looks at what a release needs of Azure: who signs in, what they may do, how many cores are left. Changes nothing."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestration.platforms.azure.credentials import ARM_SCOPE
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import Session

PERMISSIONS_API: Final = "2022-04-01"
ML_API: Final = "2024-04-01"
PROVIDER: Final = "Microsoft.MachineLearningServices"
RESERVE: Final = 1.2  # Azure keeps a fifth more instances free than asked for, for its own upgrades
FAMILY_USAGE, WORKSPACE_USAGE = f"{PROVIDER}/vmFamily/usages", f"{PROVIDER}/workspaces/usages"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom Azure takes us for: a user's name or an application's ID, and the object ID by which roles are assigned."""

    name: str
    object_id: str


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores of one family of machines: what one more online deployment needs, and what is left of the quota."""

    family: str
    needed: int
    used: int
    limit: int

    @property
    def left(self) -> int:
        """How many are free."""
        return max(0, self.limit - self.used)


def signed_in(session: Session) -> SignedIn:
    """Who the token is for. Raises `ConfigurationError` if there is none."""
    with translated("sign in"):
        token = session.credential.get_token(ARM_SCOPE).token
    claims = _claims(token)
    name = next((str(claims[key]) for key in ("upn", "unique_name", "appid") if claims.get(key)), "somebody")
    return SignedIn(name, str(claims.get("oid") or ""))


def missing_actions(session: Session, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted actions that whoever signs in may not do in the workspace."""
    path = f"{session.workspace.arm_id}/providers/Microsoft.Authorization/permissions"
    with translated("read what you may do in the workspace"):
        found = session.arm("GET", path, api_version=PERMISSIONS_API)["value"]
    return [action for action in wanted if not any(_allows(each, action) for each in found)]


def cores(session: Session, location: str, *, instance_type: str, instances: int) -> Cores | None:
    """What an online deployment of that size needs and what is left; None if Azure lists no such size or quota."""
    place = f"/subscriptions/{session.workspace.subscription_id}/providers/{PROVIDER}/locations/{location}"
    with translated(f"read the quota in {location}"):
        sizes = session.arm("GET", f"{place}/vmSizes", api_version=ML_API)["value"]
        usages = session.arm("GET", f"{place}/usages", api_version=ML_API)["value"]
    size = next((each for each in sizes if each["name"].lower() == instance_type.lower()), None)
    if size is None:
        return None
    needed = math.ceil(round(RESERVE * instances, 6)) * int(size["vCPUs"])
    counted = _counted(usages, size["family"], session.workspace.arm_id)
    known = [Cores(_name(each), needed, int(each["currentValue"]), int(each["limit"])) for each in counted]
    return min(known, key=lambda each: each.left, default=None)


def _claims(token: str) -> Mapping[str, Any]:
    """What the token says of its owner; nothing for one that is no JWT."""
    part = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _allows(permission: Mapping[str, Any], action: str) -> bool:
    """Whether one role allows an action: what it names, without what it leaves out."""
    return _among(permission.get("actions") or (), action) and not _among(permission.get("notActions") or (), action)


def _among(patterns: Sequence[str], action: str) -> bool:
    return any(_pattern(each).fullmatch(action) for each in patterns)


def _pattern(text: str) -> re.Pattern[str]:
    """Azure's wildcard stands for any text, slashes too; between two slashes it may stand for nothing at all."""
    escaped = re.escape(text).replace(r"/\*/", "/(.*/)?").replace(r"\*", ".*")
    return re.compile(escaped, re.IGNORECASE)


def _counted(usages: Iterable[Mapping[str, Any]], family: str, workspace: str) -> list[Mapping[str, Any]]:
    """The quotas that count for the workspace: the subscription's, and the workspace's own part of it."""
    wanted = _plain(family)
    fitting = [each for each in usages if _plain(_name(each)).startswith(wanted)]
    inside = f"{workspace.lower()}/usages/"
    return [
        each
        for each in fitting
        if each["type"] == FAMILY_USAGE
        or (each["type"] == WORKSPACE_USAGE and each["id"].lower().startswith(inside) and each["limit"] > 0)
    ]


def _name(usage: Mapping[str, Any]) -> str:
    return str(usage["name"]["value"])


def _plain(text: str) -> str:
    """`standardDSv2Family` and `Standard DSv2 Family Cluster …` begin alike, but for case and spaces."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
