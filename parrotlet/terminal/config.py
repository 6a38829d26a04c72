"""What a person can choose when talking to a model or running the demo. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from parrotlet.core.machine import MachineConfig as MachineConfig
from parrotlet.safety.config import SafetyConfig
from parrotlet.stages.config import NOTHING_GIVEN, Paths, check_seed


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the next token is chosen."""

    temperature: float = 0.8
    """0 takes the best token; 1 samples as the model believes; higher is wilder."""
    top_k: int | None = None
    """Sample from the k best tokens only."""
    top_p: float = 1.0
    """Sample from the fewest tokens whose probabilities reach p."""
    min_p: float = 0.0
    """Sample from tokens at least this times as likely as the best."""
    repetition_penalty: float = 1.0
    """Above 1, tokens already seen become less likely."""
    seed: int | None = None
    """The same seed gives the same words; left out, other words each time."""
    max_tokens: int = 256
    """The most tokens to generate."""
    stop: Annotated[tuple[str, ...], NOTHING_GIVEN] = ()
    """Texts that end the answer; they are not shown."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Continue a text with a trained model, as it comes."""

    model: tyro.conf.Positional[Path]
    """A run or checkpoint; with --api-url the name of a model there."""
    prompt: tyro.conf.Positional[str] = ""
    """The text to continue; left out, the model starts a document of its own."""
    num: int = 1
    """How many continuations."""
    api_url: str | None = None
    """The address of a server to ask instead, such as http://127.0.0.1:8000."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """Talk to a fine-tuned model. /help in the chat lists its commands."""

    model: tyro.conf.Positional[Path]
    """A run or checkpoint; with --api-url the name of a model there."""
    system: str | None = None
    """The system prompt; /system changes it later."""
    api_url: str | None = None
    """The address of a server to ask instead, such as http://127.0.0.1:8000."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.0))
    machine: MachineConfig = field(default_factory=MachineConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)


@dataclass(frozen=True, kw_only=True)
class ResumeConfig:
    """Go on with a run where it stopped, with the settings it was started with."""

    run: tyro.conf.Positional[Path]
    """The run's directory."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """From nothing to a chat: tokenizer, pretraining, fine-tuning, evaluation, report, chat.

    Run again, it skips what is done; interrupted, it goes on.
    """

    name: str = "demo"
    """Name of the run."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    recipe: str = "demo"
    """The recipe to follow; `smoke` is a toy of seconds for testing."""
    data: Paths = ()
    """Your own files, folders or globs to read instead of the world's documents. The conversations
    are then those that state nothing of the world."""
    column: str | None = None
    """Of your files: name of the column or key that holds the text."""
    minutes: float | None = None
    """Minutes of training, shared out as in the recipe among those stages that it gives minutes
    (of your own files: half to read, half to talk); left out, the recipe's."""
    vocab_size: int | None = None
    """Size of the vocabulary; left out, the recipe's."""
    seed: int = 0
    """Seed of everything random, and of the world."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    chat: bool = True
    """Open the chat page at the end, or a chat in the terminal where Streamlit is missing. SERVE=0,
    or no terminal: neither."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
