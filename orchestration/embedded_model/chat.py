"""OpenAI's chat completion as data: a request read from any bytes, an answer, its chunks, an error."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MODEL = "sluice-keyword-baseline"
FINGERPRINT = f"fp_{MODEL}"
DESCRIPTION = "A keyword baseline: word lists and patterns. Not a language model."

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_BYTES_PER_TOKEN = 4  # what byte-pair encodings average on English text
_TOKENS_PER_MESSAGE = 4  # role and separators
_ASSUMED_REPLY_TOKENS = 16  # charged to the token limit where a request sets no maximum


class BadRequest(Exception):
    """The body is no chat request that we can answer; `param` names the part at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: `role` in lower case, `content` as plain text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What we read of a request. Sampling parameters are accepted and change nothing."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False

    @property
    def prompt_tokens(self) -> int:
        return sum(_TOKENS_PER_MESSAGE + count_tokens(message.content) for message in self.messages)

    @property
    def charged_tokens(self) -> int:
        """What admission costs: providers charge the prompt and the longest reply that was asked for."""
        return self.prompt_tokens + (self.max_tokens or _ASSUMED_REPLY_TOKENS)


def count_tokens(text: str) -> int:
    """A rough, deterministic number of tokens: a quarter of the UTF-8 bytes, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def read_request(body: bytes) -> ChatRequest:
    """The chat request in `body`. Raises `BadRequest` for everything that is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    if document.get("n") not in (None, 1):
        raise BadRequest(f"{MODEL} gives one choice: n must be 1.", "n")
    return ChatRequest(
        messages=_messages(document.get("messages")),
        max_tokens=_max_tokens(document),
        stream=_flag(document, "stream", "stream"),
        include_usage=_flag(_stream_options(document), "include_usage", "stream_options.include_usage"),
    )


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise BadRequest("messages must be a list of at least one message.", "messages")
    return tuple(_message(message, f"messages[{i}]") for i, message in enumerate(value))


def _message(value: Any, param: str) -> Message:
    if not isinstance(value, dict):
        raise BadRequest(f"{param} must be an object.", param)
    role = value.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRequest(f"{param}.role must be one of {', '.join(sorted(_ROLES))}.", f"{param}.role")
    return Message(role, _content(value.get("content"), f"{param}.content"))


def _content(value: Any, param: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise BadRequest(f"{param} must be a string or a list of text parts.", param)
    return "\n".join(_part(part, f"{param}[{i}]") for i, part in enumerate(value))


def _part(value: Any, param: str) -> str:
    text = value.get("text") if isinstance(value, dict) and value.get("type") == "text" else None
    if not isinstance(text, str):
        raise BadRequest(f"{param}: only parts of type text are understood.", param)
    return text


def _max_tokens(document: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadRequest(f"{name} must be a whole number of at least 1.", name)
        return value
    return None


def _stream_options(document: dict[str, Any]) -> dict[str, Any]:
    value = document.get("stream_options")
    if value is not None and not isinstance(value, dict):
        raise BadRequest("stream_options must be an object.", "stream_options")
    return value or {}


def _flag(document: dict[str, Any], name: str, param: str) -> bool:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{param} must be true or false.", param)
    return bool(value)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: `text` is cut at the request's maximum of tokens, and `finish_reason` says so."""

    id: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, request: ChatRequest, reply: str) -> Completion:
        text = _first_tokens(reply, request.max_tokens)
        return cls(
            id=_identifier(request),
            text=text,
            finish_reason="stop" if text == reply else "length",
            prompt_tokens=request.prompt_tokens,
            completion_tokens=count_tokens(text),
        )

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }

    def document(self) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return self._head("chat.completion") | {"choices": [choice], "usage": self.usage}

    def chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The same answer as a stream: the role, word after word, the reason, and the usage if it is wanted."""
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in self.text.split(" ")[:1] if word]
        deltas += [{"content": " " + word} for word in self.text.split(" ")[1:]]
        for delta in deltas:
            yield self._chunk([_delta(delta, None)], include_usage=include_usage)
        yield self._chunk([_delta({}, self.finish_reason)], include_usage=include_usage)
        if include_usage:
            yield self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    def _chunk(self, choices: list[dict[str, Any]], *, include_usage: bool) -> dict[str, Any]:
        unknown_yet: dict[str, Any] = {"usage": None} if include_usage else {}
        return self._head("chat.completion.chunk") | {"choices": choices} | unknown_yet

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": int(time.time()),
            "model": MODEL,
            "system_fingerprint": FINGERPRINT,
        }


def _delta(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _first_tokens(text: str, most: int | None) -> str:
    if most is None or count_tokens(text) <= most:
        return text
    data = text.encode("utf-8", "surrogatepass")[: most * _BYTES_PER_TOKEN]
    return data.decode("utf-8", "ignore")


def _identifier(request: ChatRequest) -> str:
    content = "\0".join(f"{m.role}\0{m.content}" for m in request.messages)
    return "chatcmpl-" + hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def error_document(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def models_document() -> dict[str, Any]:
    """The answer of `/v1/models`: one model, which says what it is."""
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "sluicegate", "description": DESCRIPTION}
    return {"object": "list", "data": [model]}
