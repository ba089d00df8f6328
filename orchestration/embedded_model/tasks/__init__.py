"""What the keyword baseline can do: one file per task, each recognised by the words of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestration.embedded_model.chat import Message
from orchestration.embedded_model.tasks import classification, entities, question, summary
from orchestration.embedded_model.tasks.prompt import Prompt

GENERIC_REPLY = (
    "I'm a keyword baseline and not a language model. I can extract entities, classify by a list of labels, "
    "summarise, and find the sentence that answers a question; I don't recognise such a task in this prompt."
)


# In this order: a prompt that classifies may well speak of summaries, and hardly the other way round.
_TASKS: tuple[Callable[[Prompt], str | None], ...] = (
    entities.reply,
    classification.reply,
    summary.reply,
    question.reply,
)


def reply(messages: Sequence[Message]) -> str:
    """The reply to a conversation, from its words alone."""
    prompt = Prompt.of(messages)
    for task in _TASKS:
        answer = task(prompt)
        if answer is not None:
            return answer
    return GENERIC_REPLY
