"""What the pages point to exists: links, headings, files, tests."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT, Page, pages

TOP = "orchestration|runtime|flows|blocks|config|docs|tests|requirements|benchmarks|deployments|\\.ci"
PATH = re.compile(rf"(?:{TOP})(?:/[\w.*<>-]*)+|[\w.-]+\.md|prefect\.yaml|pyproject\.toml|\.env\.sample")
NOT_KEPT = ("benchmarks/results", "deployments/")  # made by a program; a user's, and optional
PLACEHOLDER = re.compile(r"<\w+>")
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@each_page
def test_every_relative_link_leads_somewhere(page: Page) -> None:
    for link in page.links:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors, link


@each_page
def test_every_path_that_is_named_exists(page: Page) -> None:
    own = {block.file for other in pages() for block in other.blocks if block.file}
    folders = {file.rpartition("/")[0] for file in own}
    for span in page.spans:
        if not PATH.fullmatch(span) or span in own or span.rstrip("/") in folders or span.startswith(NOT_KEPT):
            continue
        places = [page.path.parent, ROOT] if span.endswith(".md") else [ROOT]
        pattern = PLACEHOLDER.sub("*", span).rstrip("/")
        assert any(any(place.glob(pattern)) for place in places), span


@each_page
def test_every_module_that_is_named_alone_exists(page: Page) -> None:
    known = {path.name for top in ("orchestration", "runtime", "flows", "tests") for path in (ROOT / top).rglob("*.py")}
    for span in page.spans:
        if re.fullmatch(r"\w+\.py", span):
            assert span in known, span


@each_page
def test_every_test_that_is_named_as_a_guard_exists(page: Page) -> None:
    for span in page.spans:
        file, found, test = span.partition("::")
        if found:
            assert re.search(rf"^(?:async )?def {test}\b", (ROOT / file).read_text(), re.MULTILINE), span
