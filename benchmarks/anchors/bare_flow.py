"""A Prefect flow of three empty tasks: the least that a run of three steps costs."""

from __future__ import annotations

from prefect import flow, task


@task
def first() -> None:
    """Do nothing."""


@task
def second() -> None:
    """Do nothing."""


@task
def third() -> None:
    """Do nothing."""


@flow
def bare() -> None:
    """Three steps."""
    first()
    second()
    third()


if __name__ == "__main__":
    bare()
