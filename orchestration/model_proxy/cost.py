"""How many tokens a request will count for, before anyone has counted them.

Providers charge a token limit when a request arrives: some the prompt and the longest reply that was asked for, some
what an answer really used. Which it is shows in what is left after requests that were sent right after
each other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import pairwise

from orchestration.values import Tokens

_BYTES_PER_TOKEN = 4  # of English text in JSON; corrected by what answers say
_FIRST_REPLY = 64.0  # tokens of a reply, until one has been seen
_WEIGHT = 0.1  # of the newest answer in a moving average
_INLINE_DATA = re.compile(rb'data:[\w/+.-]+;base64,[^"]*')
_LONGEST_REPLY = re.compile(rb'"max_(?:completion_|output_)?tokens"\s*:\s*(\d{1,9})')
_CHOICES = re.compile(rb'"(?:n|best_of)"\s*:\s*(\d{1,3})[\s,}]')
_SMALLEST_BLOCK, _LARGEST_BLOCK = 5, 32  # requests sent in a row that are looked at together
_PAUSE = 0.003  # seconds: closer requests may arrive in another order
_DOUBT = 0.3  # of what a block was charged: more refill than that meanwhile makes it no evidence
_ONE_OF_SEVERAL = 0.7  # of the drop: more in one step is not a request, but a new period of the limit
_SAMPLES = 8
_PATIENCE = 1  # refusals
_RAISE, _FADE = 0.03, 0.999  # what a refusal adds to all costs, and what of it is left after each answer
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Size:
    """A request by its looks: tokens of the prompt, and of the longest reply if the request bounds it."""

    prompt: float = 0.0
    reply: float | None = None


def size_of(body: bytes) -> Size:
    """The size of a request, read from its bytes without parsing them; inline images don't count as text."""
    text = _INLINE_DATA.sub(b"", body) if b";base64," in body else body
    bound = _LONGEST_REPLY.search(text)
    if bound is None:
        return Size(len(text) / _BYTES_PER_TOKEN)
    choices = max((int(found) for found in _CHOICES.findall(text)), default=1)
    return Size(len(text) / _BYTES_PER_TOKEN, float(int(bound[1]) * max(1, choices)))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the provider had left after a request."""

    left: float
    at: float
    size: Size


@dataclass(frozen=True, slots=True)
class _Sample:
    """Tokens that some requests were charged together, known but for the refill meanwhile."""

    charged: float
    sizes: tuple[Size, ...]
    doubt: float


@dataclass(slots=True, eq=False)
class Block:
    """Requests sent in a row: those that are answered have been charged.

    It ends with the first pause, so that requests of two blocks do not overtake each other on the way.
    """

    sent: int = 0
    resolved: int = 0
    last: float = -math.inf
    closed: bool = False
    seen: list[Seen] = field(default_factory=list)

    def ends_before(self, at: float) -> bool:
        return self.sent >= _LARGEST_BLOCK or (self.sent >= _SMALLEST_BLOCK and at - self.last >= _PAUSE)

    def sample(self, rate: float) -> _Sample | None:
        """The less is left, the later a request arrived: so the first one's own charge is not in the drop."""
        seen = sorted(self.seen, key=lambda one: -one.left)
        if len(seen) < 3:
            return None
        gaps = [before.left - after.left for before, after in pairwise(seen)]
        drop = sum(gaps)
        refill = rate * (max(one.at for one in seen) - min(one.at for one in seen))
        if drop <= 0 or refill > _DOUBT * drop or max(gaps) > _ONE_OF_SEVERAL * drop:
            return None
        return _Sample(drop + refill / 2, tuple(one.size for one in seen[1:]), refill / drop)


class CostEstimate:
    """Turns sizes into tokens, and learns from what answers say they used and leave.

    Two readings compete: the longest reply is charged, or the reply as it turns out. What is left after an answer
    decides; until it is told, `assume_longest` does, and refusals by a limit that we thought we kept.
    """

    def __init__(self, *, assume_longest: bool = True) -> None:
        self._assume_longest = assume_longest
        self._prompt_ratio = 1.0
        self._reply = _FIRST_REPLY
        self._answers = self._refusals = 0
        self._surcharge = 0.0
        self._block = Block()
        self._samples: list[_Sample] = []  # the least doubtful
        self._corrected: tuple[bool, float] | None = None

    def of(self, size: Size) -> float:
        """Tokens that the request will be charged."""
        longest, ratio = self._correction()
        return max(1.0, (1 + self._surcharge) * ratio * self._tokens(size, longest=longest))

    def used(self, size: Size, tokens: Tokens) -> None:
        """An answer says what it used."""
        weight = max(_WEIGHT, 1 / (self._answers + 1))
        self._answers += 1
        self._surcharge *= _FADE
        if size.prompt > 0 and tokens.prompt:
            self._prompt_ratio += weight * (tokens.prompt / size.prompt - self._prompt_ratio)
        self._reply += weight * (tokens.completion - self._reply)
        self._corrected = None

    def refused(self) -> None:
        """The token limit refused a request that we thought would fit."""
        self._refusals += 1
        self._surcharge += _RAISE
        self._corrected = None

    def sent(self, at: float, *, rate: float) -> Block:
        """A request goes out; `rate` is the refill of the limit, tokens per second. The answer is for `resolved`."""
        before = self._block
        if before.ends_before(at):
            before.closed, self._block = True, Block()
            self._judge(before, rate)
        self._block.sent += 1
        self._block.last = at
        return self._block

    def resolved(self, block: Block, seen: Seen | None, *, rate: float) -> None:
        """A request was answered, refused or lost; `seen` if it was charged and what is left is known."""
        block.resolved += 1
        if seen is not None:
            block.seen.append(seen)
        self._judge(block, rate)

    def _judge(self, block: Block, rate: float) -> None:
        if not block.closed or block.resolved < block.sent:
            return
        sample = block.sample(rate)
        if sample is not None:
            self._samples = sorted([*self._samples, sample], key=lambda one: one.doubt)[:_SAMPLES]
            self._corrected = None

    def _correction(self) -> tuple[bool, float]:
        """Whether the longest reply counts, and the factor that makes the samples come out right."""
        if self._corrected is None:
            self._corrected = self._correct()
        return self._corrected

    def _correct(self) -> tuple[bool, float]:
        if not self._samples:
            return self._assume_longest or self._refusals > _PATIENCE, 1.0
        longest = self._error(longest=True) < self._error(longest=False)
        charged = sum(sample.charged for sample in self._samples)
        return longest, charged / sum(self._total(sample, longest=longest) for sample in self._samples)

    def _error(self, *, longest: bool) -> float:
        return sum(abs(math.log(one.charged / self._total(one, longest=longest))) for one in self._samples)

    def _total(self, sample: _Sample, *, longest: bool) -> float:
        return sum(self._tokens(size, longest=longest) for size in sample.sizes)

    def _tokens(self, size: Size, *, longest: bool) -> float:
        reply = self._reply
        if size.reply is not None:
            reply = size.reply if longest else min(size.reply, self._reply)
        return max(1.0, size.prompt * self._prompt_ratio + reply)
