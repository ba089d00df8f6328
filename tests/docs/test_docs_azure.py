"""docs/azure-setup.md says what the code does: kinds of credentials, roles, defaults."""

from __future__ import annotations

import re
from typing import get_args

from doc_pages import page

from orchestration.platforms.azure import roles
from orchestration.settings.azure import AzureCredential, AzureDeadlines
from orchestration.steps import doctor_azure

PAGE = page("docs/azure-setup.md")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    lines = [line for line in PAGE.section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:] if not line.startswith("|--")]


def test_every_kind_of_credential_is_explained() -> None:
    kinds = get_args(AzureCredential.model_fields["kind"].annotation)
    assert {row[0].strip("`") for row in rows("## 2. Who signs in")} == set(kinds)


def test_the_roles_are_those_that_doctor_asks_for() -> None:
    said = " ".join(row[1] for row in rows("## 3. Roles"))
    for role in (doctor_azure.SCIENTIST, doctor_azure.ADMINISTRATOR):
        assert role in said
        assert f'--role "{role}"' in PAGE.text


def test_the_condition_allows_the_one_role_that_a_release_assigns() -> None:
    condition = PAGE.section("## 3. Roles")
    assert set(re.findall(r"\{([0-9a-f-]{36})\}", condition)) == {roles.CONNECTION_READER}


def test_the_defaults_are_the_defaults() -> None:
    said = re.search(r"deadlines: \{(.*?)\}", PAGE.text)
    assert said
    values = {name: float(value) for name, value in (part.split(": ") for part in said[1].split(", "))}
    assert values == AzureDeadlines().model_dump()


def test_nobody_is_told_to_give_owner() -> None:
    assert "Owner" not in {row[1] for row in rows("## 3. Roles")}
    assert not re.search(r"--role \"?(Owner|Contributor)", PAGE.text)
    assert "**Don't give Owner" in PAGE.text
