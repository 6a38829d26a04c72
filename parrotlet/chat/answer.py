"""Answer: one request's tokens turned into pieces, and the loop that drives many of them.

An answer detokenises, stops at stop strings, runs tools between two tokens and asks the filters
before it shows a piece. One answer or hundreds run through the same loop; they may join it and
leave it while it runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from parrotlet.chat.call_runner import LONGEST_CALL, CallRunner
from parrotlet.chat.pieces import Asked, Finish, Piece, Reason
from parrotlet.chat.screen import Screened
from parrotlet.chat.stops import StopMatcher
from parrotlet.core.errors import UsageError
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Event, Request, RequestId, SamplingSettings, Scored
from parrotlet.safety.filter import Verdict, worse
from parrotlet.safety.filters import Filters
from parrotlet.text.chat import Message, Text, ToolResult, render_result
from parrotlet.text.stream import TextStream
from parrotlet.text.tokenizer import Tokenizer

MOST_STOPS = 4


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """How long an answer may be, where its text ends, how its tokens are chosen."""

    max_tokens: int = 256  # sampled tokens
    min_tokens: int = 0  # before these the model cannot end the answer
    stop: tuple[str, ...] = ()  # up to 4 strings that end the answer and are not shown
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    alternatives: int | None = None  # tokens are shown too, each with so many likeliest others
    prompt_logprobs: bool = False  # the prompt's tokens are shown like that; max_tokens may be 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1 and not self.prompt_logprobs:
            raise UsageError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if len(self.stop) > MOST_STOPS:
            raise UsageError(
                f"there are {len(self.stop)} stop strings; at most {MOST_STOPS} can be watched for"
            )
        if "" in self.stop:
            raise UsageError("a stop string is empty; leave it out")

    def within(self, room: int) -> GenerateSettings:
        """The same settings with at most `room` tokens."""
        if self.max_tokens <= room:
            return self
        return replace(self, max_tokens=room, min_tokens=min(self.min_tokens, room))


class Answer:
    """One request on its way to a reader. Made first, then started by `drive`."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        settings: GenerateSettings,
        *,
        end: int,
        calls: CallRunner | None = None,
        filters: Filters | None = None,
        context: Sequence[Message] = (),
        screened: Screened | None = None,
        choice: int = 0,
    ) -> None:
        """`end` is the control token that ends the answer. `context`: what filters are told;
        `screened`: what they said of it already; where they refused it, the answer is its
        `refusal` and must not be started.
        `choice`: which of several answers to one prompt this is.

        Control tokens that have no place in an answer are banned, results of tools among them,
        and so are ids that the model has and the tokenizer has not.
        """
        borders = set() if calls is None else {calls.opening, calls.closing}
        controls = set(range(tokenizer.first_special, engine.vocab_size))
        self._request = Request(
            prompt=tuple(prompt),
            max_tokens=settings.max_tokens,
            min_tokens=settings.min_tokens,
            sampling=settings.sampling,
            choice=choice,
            alternatives=settings.alternatives or 0,
            prompt_logprobs=settings.prompt_logprobs,
            stop_ids=frozenset({end}),
            pause_ids=frozenset() if calls is None else frozenset({calls.closing}),
            banned_ids=frozenset(controls - borders - {end}),
        )
        self._engine = engine
        self._tokenizer = tokenizer
        self._calls = calls
        self._filters = filters
        self._context = context
        self._verdict = (screened and screened.verdict) or Verdict("allow")
        self.refusal = screened.refusal if screened else ()
        self._output = filters.stream(context) if filters else None
        self._stream = TextStream(tokenizer, prompt[-1])
        self._stops = StopMatcher(settings.stop)
        self._call: list[int] | None = None  # the ids of a call that is being written
        self._wants_tokens = settings.alternatives is not None
        self._scored: deque[tuple[int, Scored]] = deque()  # not shown yet; where their text begins
        self._read_chars = self._shown_chars = 0
        self._usage = Finish(reason="stop", prompt_tokens=len(prompt), sampled_tokens=0)
        self.ended = False

    def start(self) -> RequestId:
        """Queue the request; UsageError where it does not fit the engine."""
        self.id = self._engine.add(self._request)
        return self.id

    def take(self, event: Event) -> list[Piece]:
        """What the reader sees of an event of this request."""
        if self.ended or event.forced:
            return []
        asked: list[Piece] = [Asked(event.prompt)] if event.prompt else []
        if event.token is None:
            return asked + self._end(event.finish or "cancelled")
        sampled = self._usage.sampled_tokens + 1
        self._usage = replace(self._usage, sampled_tokens=sampled)
        pieces = asked + (self._close_call() if event.paused else self._read(event))
        if event.finish is not None and not self.ended:
            pieces += self._flush()
            if not self.ended:
                pieces += self._end(event.finish)
        return pieces

    def _read(self, event: Event) -> list[Piece]:
        """A sampled token that neither ends a call nor makes the request wait."""
        token = event.token
        assert token is not None, "only an end has no token"
        if self._calls is not None and token == self._calls.opening:
            pieces = self._flush()
            self._call = []  # a call inside a call begins anew, as when a reply is parsed
            return pieces
        if self._call is not None:
            self._call.append(token)
            endless = len(self._call) >= LONGEST_CALL and event.finish is None
            return self._close_call([self._calls.closing]) if self._calls and endless else []
        if self._wants_tokens and event.finish != "stop":
            scored = Scored(token, event.logprob, event.alternatives)
            self._scored.append((self._read_chars, scored))
        return self._say(self._stream.push(token), last=False)

    def _close_call(self, closing: Sequence[int] = ()) -> list[Piece]:
        """The model waits after a call: run it and let the model read the result.

        `closing`: the end of a call that the model has not ended itself.
        """
        assert self._calls is not None, "without tools there is nothing to pause after"
        if self._call is None:  # the end of a call that never began: go on
            self._engine.force(self.id, ())
            return self._say(self._stream.push(self._calls.closing), last=False)
        if not self._calls.left:
            return self._end("calls")
        call, result = self._calls.run(self._call)
        if self._filters:
            text, verdict = self._filters.screen("tool", result.text, self._context)
            result = ToolResult(text)
            self._verdict = worse(self._verdict, verdict)
        self._call = None
        ids = [*closing, *render_result(result, self._tokenizer)]
        forced = self._usage.forced_tokens + len(ids)
        held = self._usage.prompt_tokens + self._usage.sampled_tokens + forced
        if held >= self._engine.length:
            return [call, result, *self._end("length")]
        self._usage = replace(self._usage, forced_tokens=forced)
        self._engine.force(self.id, ids)
        self._stream = TextStream(self._tokenizer, ids[-1])
        return [call, result]

    def _flush(self) -> list[Piece]:
        """A stretch of text is over: show what was held back, unless a call was being written."""
        return [] if self._call is not None else self._say(self._stream.flush(), last=True)

    def _say(self, text: str, *, last: bool) -> list[Piece]:
        """Text that passes the stop strings and the filters, its tokens before it."""
        self._read_chars += len(text)
        shown = self._stops.push(text)
        if last:
            shown += self._stops.flush()
        if self._output is None:
            self._shown_chars += len(shown)
        else:
            shown = self._output.push(shown)
            if last or self._stops.hit:
                shown += self._output.flush()
            self._shown_chars = self._output.released
        pieces = [*self._tokens_shown(), *([Text(shown)] if shown else [])]
        if self._output is not None and self._output.ended:
            return pieces + self._end("filtered")
        return pieces + self._end("stop") if self._stops.hit else pieces

    def _tokens_shown(self) -> list[Piece]:
        """The tokens whose text has begun to be shown, where they are asked for; none whose text
        a filter took out, or part of it.
        """
        tokens: list[Piece] = []
        removed = [] if self._output is None else self._output.removed
        while self._scored and self._scored[0][0] < self._shown_chars:
            start, scored = self._scored.popleft()
            end = self._scored[0][0] if self._scored else self._read_chars
            if not any(start < stop and begin < end for begin, stop in removed):
                tokens.append(scored)
        return tokens

    def _end(self, reason: Reason) -> list[Piece]:
        """The answer ends here; the engine stops working on it."""
        self.ended = True
        self._engine.cancel(self.id)
        if self._output is not None:
            self._verdict = worse(self._verdict, self._output.verdict)
        verdict = None if self._verdict.action == "allow" else self._verdict
        return [replace(self._usage, reason=reason, verdict=verdict)]


class AnswerLoop:
    """Answers that share the steps of one engine; they join and leave between steps.

    It takes all events of the engine, so nobody else may step it meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[RequestId, Answer] = {}

    def __len__(self) -> int:
        return len(self._running)

    def join(self, answer: Answer) -> None:
        """Start an answer; UsageError where it does not fit the engine."""
        self._running[answer.start()] = answer

    def leave(self, answer: Answer) -> None:
        """Stop working on an answer that has joined; one that has ended is left alone."""
        if self._running.pop(answer.id, None) is not None:
            self._engine.cancel(answer.id)

    def close(self) -> None:
        """Stop working on all of them."""
        for answer in list(self._running.values()):
            self.leave(answer)

    def step(self) -> Iterator[tuple[Answer, Event]]:
        """One step of the engine: each event with the answer that is to `take` it, at once."""
        for event in self._engine.step():
            answer = self._running.get(event.request)
            if answer is None:  # the end of one that has left
                continue
            yield answer, event
            if answer.ended:
                self._running.pop(event.request, None)


def drive(engine: Engine, answers: Sequence[Answer]) -> Generator[tuple[int, Piece], None, None]:
    """Run answers together to their ends: (which of `answers`, its next piece).

    Closed early, by Ctrl-C for one, it cancels what still runs.
    """
    loop = AnswerLoop(engine)
    numbers = {answer: index for index, answer in enumerate(answers)}
    try:
        for answer in answers:
            loop.join(answer)
        while len(loop):
            assert not engine.idle, "answers wait for an engine that has nothing to do"
            for answer, event in loop.step():
                yield from ((numbers[answer], piece) for piece in answer.take(event))
    finally:
        loop.close()
