"""Job: one request on its way through the engine. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field

from parrotlet.engine.request import Event, Request, RequestId, Scored


@dataclass
class Job:
    """One request on its way: what it holds, how much of that is in the cache, where it stands."""

    id: RequestId
    request: Request
    ids: list[int]  # prompt, then sampled and forced ids
    slot: int | None = None  # None while it waits
    fed: int = 0  # ids whose keys and values are in the cache
    said: list[int] = field(default_factory=list)  # the sampled ids
    paused: bool = False
    shares: tuple[Job, int] | None = None  # who is reading so many ids of its prompt for it
    scored: list[Scored] = field(default_factory=list)  # of the prompt, where that is asked for

    @property
    def sampled(self) -> int:
        """How many tokens were sampled."""
        return len(self.said)

    @property
    def pending(self) -> int:
        """Ids that are still to be fed before the next one can be sampled."""
        return len(self.ids) - self.fed

    @property
    def held_slot(self) -> int:
        """The slot of a running job."""
        assert self.slot is not None, "a waiting job has no slot"
        return self.slot

    def accept(self, token: int, logprob: float, length: int) -> Event:
        """Take a sampled id; the event says whether the request ends or pauses with it."""
        self.ids.append(token)
        self.said.append(token)
        if token in self.request.stop_ids:
            return Event(self.id, token, logprob, finish="stop")
        if self.sampled == self.request.max_tokens or len(self.ids) >= length:
            return Event(self.id, token, logprob, finish="length")
        self.paused = token in self.request.pause_ids
        return Event(self.id, token, logprob, paused=self.paused)

    def rewind(self) -> None:
        """Nothing of it is in the cache any more."""
        self.fed = 0
        self.shares = None
        self.scored = []
