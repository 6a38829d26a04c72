"""What a person can choose, stage by stage. Torch-free; each knob is written here once.

`tyro` turns these classes into command lines: a field is a flag, and the text under it its help.
A run keeps its configuration in recipe.json, so that resuming needs no flag.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.rundir import check_name
from parrotlet.model.config import Architecture
from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.bounds import BOUNDS, check_bounds

T = TypeVar("T")
# what --help says of a list that is empty where nothing is given
NOTHING_GIVEN = tyro.conf.arg(help_behavior_hint="(default: none)")


def check_seed(seed: int) -> None:
    """UsageError for a seed that random generators do not take."""
    low, high = BOUNDS["seed"]
    if not low <= seed <= high:
        raise UsageError(f"--seed {seed}: choose a whole number from {low} to {high}")


def run_name(name: str) -> str:
    """The name itself; UsageError where it cannot be one."""
    try:
        return check_name(name)
    except RunError as error:
        raise UsageError(str(error)) from error


def _paths(words: list[str]) -> tuple[Path, ...]:
    if not words:
        raise ValueError("name at least one file, folder or glob, or leave the flag out")
    return tuple(map(Path, words))


# a flag with nothing after it is a slip, not the wish to learn from something else
Paths = Annotated[
    tuple[Path, ...],
    NOTHING_GIVEN,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="PATH [PATH ...]",
        instance_from_str=_paths,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str(each) for each in value],
    ),
]


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """Where a run lives, and its seed."""

    name: str | None = None
    """Name of the run: a folder under --runs. Left out: the verb's or recipe's own name."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    seed: int = 0
    """Seed of everything random: weights, order of the data, samples."""

    def __post_init__(self) -> None:
        if self.name is not None:
            run_name(self.name)


@dataclass(frozen=True, kw_only=True)
class RunConfig(PlaceConfig):
    """Where a run lives and what it runs on."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for the best there is."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of activations and matrix products; weights are kept in float32. auto: what is fast here."""
    threads: int | None = None
    """CPU threads; left out, PyTorch's choice."""
    show_batch: bool = False
    """Before the first step, print one row of the first batch as text, with what is learned."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The text to learn from."""

    data: Paths = ()
    """Files, folders or globs: txt, md, jsonl, json, csv, parquet, also .gz and .zst. None: the
    embedded world."""
    column: str | None = None
    """Name of the column or key that holds the text."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop there, or put U+FFFD in their place."""
    validation_fraction: float = 0.1
    """Share of the documents (of one long text: its end) kept for validation. The model never
    learns from them; a tokenizer trained on the data has counted their words too."""
    world_documents: int = 30_000
    """How many documents of the embedded world to write, where --data is left out."""


@dataclass(frozen=True, kw_only=True)
class WholeDataConfig(DataConfig):
    """The text to learn from, of which nothing is kept for validation."""

    validation_fraction: tyro.conf.Suppress[tyro.conf.Fixed[float]] = 0.0


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How text becomes tokens."""

    tokenizer: Path | None = None
    """A run, checkpoint or folder with a tokenizer to use (ours, or GPT-2's encoder.json and
    vocab.bpe); left out, one is trained on the data."""
    kind: Literal["bpe", "char"] = "bpe"
    """Byte-level BPE, or one token per character."""
    vocab_size: int = 4096
    """Size of the BPE vocabulary, control tokens included."""
    world_talk: int = 0
    """Conversations of the embedded world that a BPE tokenizer is trained on besides --data, so
    that it splits them well when they are learned later."""


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """The shape of the model. --depth alone is enough: the rest follows from it."""

    arch: Architecture = "qwen3"
    """gpt2 (2019), qwen3 (exports everywhere) or swift (trains fastest)."""
    depth: int = 4
    """Number of blocks."""
    width: int | None = None
    """Size of the hidden state; left out, 64 times the depth."""
    heads: int | None = None
    """Attention heads; left out, one for every 64 of the width (of 32 where it is narrow)."""
    kv_heads: int | None = None
    """Key-value heads; left out, as many as heads."""
    mlp_width: int | None = None
    """Hidden size of the MLP; left out, 4 times the width (qwen3: 8/3 times)."""
    context: int = 256
    """The longest sequence, in tokens."""


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """How long to train and how much at once. One of --steps, --tokens and --minutes."""

    steps: int | None = None
    """Optimizer steps."""
    tokens: int | None = None
    """Tokens to train on; becomes steps."""
    minutes: float | None = None
    """Minutes of training; becomes steps by timing a few before the first."""
    batch_tokens: int = 8192
    """Tokens in one optimizer step, over all ranks."""
    micro_tokens: int = 16384
    """The most tokens in one forward pass of one rank; larger batches are cut into microbatches."""
    evaluate_every: int | None = None
    """Steps between evaluations; left out, ten times in a run."""
    save_every: int | None = None
    """Steps between checkpoints, besides those by time."""
    save_seconds: float = 60.0
    """Seconds between checkpoints."""
    sample_seconds: float = 30.0
    """Seconds between samples."""


class Checked:
    """A configuration whose numbers are within bounds, or UsageError where it is made."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig(Checked):
    """Train a tokenizer on text, and say how well it splits it."""

    run: PlaceConfig = field(default_factory=PlaceConfig)
    data: WholeDataConfig = field(default_factory=WholeDataConfig)
    text: TokenizerConfig = field(default_factory=TokenizerConfig)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Checked):
    """Train a model from scratch on raw text; the tokenizer too, unless one is given."""

    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    text: TokenizerConfig = field(default_factory=TokenizerConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    prompts: tuple[str, ...] = ("The", "Once upon a time")
    """Texts to continue while training, to watch it learn."""


@dataclass(frozen=True, kw_only=True)
class SftDataConfig:
    """The conversations to learn from."""

    data: Paths = ()
    """Files, folders or globs of conversations: jsonl, json, csv or parquet of OpenAI messages or
    instruction records, also .gz and .zst. None: the embedded world."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop there, or put U+FFFD in their place."""
    validation_fraction: float = 0.05
    """Share of the conversations kept for validation."""
    world_conversations: int = 20_000
    """How many conversations of the embedded world to write, where --data is left out."""
    world_talk: Literal["all", "general"] = "all"
    """Of the embedded world's conversations: all, or only those that state none of its facts (for
    a model that learned from other text; no documents of the world are mixed in then)."""
    world_documents: int = 4_000
    """Documents of the embedded world to mix in, so that its facts are not forgotten."""


@dataclass(frozen=True, kw_only=True)
class SftConfig(Checked):
    """Fine-tune a base model on conversations, so that it answers."""

    start: tyro.conf.Positional[Path]
    """The run or checkpoint to start from."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: SftDataConfig = field(default_factory=SftDataConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    context: int | None = None
    """Tokens in a row of packed conversations; left out, the model's context."""
    prompts: tuple[str, ...] = ("Hello!", "Who are you?")
    """What the user says in the samples taken while training."""


def with_absolute_paths(config: T) -> T:
    """The same with every path but --runs absolute, so that resuming works from any folder."""
    old: Any = config
    changes: dict[str, Any] = {}
    for each in dataclasses.fields(old):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[each.name] = with_absolute_paths(value)
        elif isinstance(value, Path) and each.name != "runs":
            changes[each.name] = value.absolute()
        elif each.name == "data":
            changes[each.name] = tuple(path.absolute() for path in value)
    return typing.cast(T, dataclasses.replace(old, **changes))


def learned_from(data: tuple[Path, ...], seed: int) -> str:
    """What a stage learns from, for a person."""
    return ", ".join(map(str, data)) or f"the embedded world (seed {seed})"


def to_json(value: Any) -> Any:
    """A configuration as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [to_json(each) for each in value]
    return value


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """The configuration that to_json turned into `value`.

    Raises UsageError naming a field that this version does not have.
    """
    hints = typing.get_type_hints(kind)
    unknown = sorted(value.keys() - hints.keys())
    if unknown:
        raise UsageError(f"unknown settings {unknown} for {kind.__name__}; they are from elsewhere")
    return kind(**{name: _typed(hints[name], each) for name, each in value.items()})


def _typed(hint: Any, value: Any) -> Any:
    """One JSON value as the type its field wants."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(each for each in typing.get_args(hint) if each is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value)
    if hint is Path:
        return Path(value)
    if typing.get_origin(hint) is tuple:
        return tuple(_typed(typing.get_args(hint)[0], each) for each in value)
    return value
