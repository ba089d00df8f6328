"""What the runner says, in the user's words: files are called as in the project, not as in the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.candidates import read_manifest
from orchestration.errors import ConfigurationError, Place, RunnerFailed
from orchestration.steps.work import Work
from orchestration.values import Candidate

FLOW, EVALUATOR = "flow", "evaluator"  # the folders of a candidate, and the engine's names of its two runners


@dataclass(frozen=True, slots=True)
class UsersWords:
    """The places of a candidate's files in the project, by their folders in the snapshot."""

    folder: Path
    names: Mapping[str, str]

    @classmethod
    def of(cls, candidate: Candidate) -> UsersWords:
        return cls(candidate.folder, read_manifest(candidate.folder).names)

    def place(self, side: str, where: str) -> Place:
        """The place of `file:line` below one of the two flows' folders; the folder itself for the empty string."""
        file, _, line = where.partition(":")
        folder = self.names.get(side, self.names[FLOW])
        return Place(f"{folder}/{file}" if file else folder, int(line) if line.isdigit() else None)

    def text(self, message: str) -> str:
        """A message with the snapshot's paths as they are in the project."""
        for folder in (self.folder.resolve(), self.folder):
            for side in (FLOW, EVALUATOR):
                if side in self.names:
                    message = message.replace(f"{folder}/{side}", self.names[side])
        return message


@contextmanager
def in_the_users_words(work: Work) -> Iterator[None]:
    """A flow that can't be opened is the user's to mend: a `ConfigurationError` with the place in the project."""
    try:
        yield
    except RunnerFailed as error:
        words = UsersWords.of(work.candidate)
        at, why = words.place(error.side, error.where), words.text(error.reason).rstrip(".")
        cure = f"Mend it, then: sluice test {work.candidate.prompt_flow}"
        raise ConfigurationError(f"the flow can't be opened: {why}.", at=at, cure=cure) from None
