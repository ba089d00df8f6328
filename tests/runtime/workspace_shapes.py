"""Workspace connections as `listsecrets` describes them, and what each has to be taken for, by everyone who reads them.

Categories, spelling of keys and metadata as the service writes them; keys and hosts are made up.
"""

from __future__ import annotations

from typing import Any

KEY = "k-0123456789abcdef"
AOAI = "https://contoso.openai.azure.com"

# name -> (properties, kind, base_url, api_version, key)
MODELS: dict[str, tuple[dict[str, Any], str, str, str | None, str | None]] = {
    "azure openai": (
        {
            "authType": "ApiKey",
            "category": "AzureOpenAI",
            "target": f"{AOAI}/",
            "metadata": {
                "ApiType": "azure",
                "ApiVersion": "2024-06-01",
                "azureml.flow.module": "promptflow.connections",
            },
            "credentials": {"key": KEY},
            "group": "AzureAI",
            "isSharedToAll": True,
        },
        "azure_openai",
        AOAI,
        "2024-06-01",
        KEY,
    ),
    "azure openai in other letters": (
        {
            "authType": "apikey",
            "category": "azureOpenAI",
            "target": AOAI,
            "metadata": None,
            "credentials": {"key": KEY},
        },
        "azure_openai",
        AOAI,
        None,
        KEY,
    ),
    "azure openai with Entra": (
        {"authType": "AAD", "category": "AzureOpenAI", "target": AOAI, "metadata": {"apiversion": "2024-10-21"}},
        "azure_openai",
        AOAI,
        "2024-10-21",
        None,
    ),
    "AI services": (
        {
            "authType": "ApiKey",
            "category": "AIServices",
            "target": "https://contoso.services.ai.azure.com",
            "credentials": {"key": KEY},
        },
        "azure_openai",
        "https://contoso.services.ai.azure.com",
        None,
        KEY,
    ),
    "openai": (
        {"authType": "ApiKey", "category": "OpenAI", "target": None, "credentials": {"key": KEY}, "metadata": {}},
        "openai",
        "https://api.openai.com/v1",
        None,
        KEY,
    ),
    "openai of prompt flow's old pages": (
        {
            "authType": "CustomKeys",
            "category": "CustomKeys",
            "target": "-",
            "credentials": {"keys": {"api_key": KEY}},
            "metadata": {"azureml.flow.connection_type": "OpenAI", "base_url": "https://models.example/v1"},
        },
        "openai",
        "https://models.example/v1",
        None,
        KEY,
    ),
    "a key for an address": (
        {
            "authType": "ApiKey",
            "category": "ApiKey",
            "target": "https://models.example/v1/",
            "credentials": {"key": KEY},
        },
        "openai",
        "https://models.example/v1",
        None,
        KEY,
    ),
    "a key for an address of Azure OpenAI": (
        {"authType": "ApiKey", "category": "ApiKey", "target": AOAI, "credentials": {"key": KEY}},
        "azure_openai",
        AOAI,
        None,
        KEY,
    ),
    "serverless": (
        {
            "authType": "ApiKey",
            "category": "Serverless",
            "target": "https://phi.westeurope.models.ai.azure.com",
            "credentials": {"key": KEY},
        },
        "openai",
        "https://phi.westeurope.models.ai.azure.com",
        None,
        KEY,
    ),
}
CUSTOM = {
    "authType": "CustomKeys",
    "category": "CustomKeys",
    "target": "_",
    "credentials": {"keys": {"token": KEY}},
    "metadata": {
        "azureml.flow.connection_type": "Custom",
        "azureml.flow.module": "promptflow",
        "url": "https://x.example",
    },
}
# name -> (properties, what the message must say)
UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"authType": "ApiKey", "category": "AzureOpenAI", "target": AOAI, "credentials": None}, "no key"),
    "empty key": ({"authType": "ApiKey", "category": "OpenAI", "credentials": {"key": ""}}, "no key"),
    "no address": ({"authType": "ApiKey", "category": "AzureOpenAI", "credentials": {"key": KEY}}, "no address"),
    "clear text": (
        {"authType": "ApiKey", "category": "OpenAI", "target": "http://m.example/v1", "credentials": {"key": KEY}},
        "https",
    ),
    "Entra for strangers": ({"authType": "AAD", "category": "OpenAI", "target": "https://m.example/v1"}, "m.example"),
    "not a model": (
        {"authType": "UsernamePassword", "category": "Snowflake", "target": "x", "credentials": {"password": KEY}},
        "Snowflake",
    ),
    "nothing": ({}, "category"),
}
