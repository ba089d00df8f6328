"""The settings of an environment: typed, bounded, from files, a block and the command line."""

from orchestration.settings.binding import bind, describe_connection
from orchestration.settings.load import (
    find_root,
    list_environments,
    load_settings,
    parse_overrides,
    settings_problems,
)
from orchestration.settings.model import (
    Connection,
    EndpointSettings,
    EvaluationSettings,
    Floors,
    Prices,
    Rollout,
    Settings,
    SettingsFile,
)

__all__ = [
    "Connection",
    "EndpointSettings",
    "EvaluationSettings",
    "Floors",
    "Prices",
    "Rollout",
    "Settings",
    "SettingsFile",
    "bind",
    "describe_connection",
    "find_root",
    "list_environments",
    "load_settings",
    "parse_overrides",
    "settings_problems",
]
