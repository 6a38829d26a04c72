"""The proof of an export to transformers: what was written is loaded there and compared.

Three things must agree: the ids of texts and conversations, the logits, and the tokens of greedy
generation through both caches. Sample texts are a check, not a proof for every text.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.exchange.dialects import chat_template
from parrotlet.exchange.jinja import as_messages
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model
from parrotlet.text.chat import (
    Conversation,
    Message,
    Text,
    ToolCall,
    ToolResult,
    render,
    render_prompt,
)
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, load_model, load_tokenizer

TOLERANCE = 1e-4  # of logits, in float32; more where they spread more than 1
LONGEST, MOST_NEW = 48, 24  # tokens of the comparison
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    " It's 3:45 pm; he'll pay $1,234.50 (or 12%)!\n\n\tThen\r\nnext  line   ",
    "café cafe\u0301 naïve 漢字 한국어 عربى",
    "\U0001f642\U0001f469\u200d\U0001f680 def f(x): return x**2  # ok",
)


def load_transformers() -> ModuleType:
    """The library; UsageError with the way to install it where it is missing."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise UsageError(
            "an export to transformers is proved with transformers, which is not installed: "
            "pip install 'parrotlet[export]'"
        ) from error


def prove(checkpoint: Checkpoint, folder: Path) -> list[str]:
    """What agrees, in lines; CheckpointError naming the first thing that does not."""
    transformers = load_transformers()
    tokenizer = load_tokenizer(checkpoint)
    ours = load_model(
        checkpoint, Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
    ).eval()
    with _quiet(transformers):
        model_class, tokenizer_class = _their_classes(transformers, checkpoint)
        their_tokenizer = tokenizer_class.from_pretrained(folder, local_files_only=True)
        theirs = model_class.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        theirs.eval()
        return [
            _same_ids(tokenizer, their_tokenizer),
            _same_logits(ours, theirs, tokenizer.vocab_size),
            _same_tokens(ours, theirs, tokenizer),
        ]


def _their_classes(transformers: ModuleType, checkpoint: Checkpoint) -> tuple[Any, Any]:
    """What loads the model and its tokenizer. swift's class is that of the file it brings, taken
    from here: the way through the folder would copy it into transformers' own cache."""
    if checkpoint.config.arch != "swift":
        return transformers.AutoModelForCausalLM, transformers.AutoTokenizer
    modelling = importlib.import_module("parrotlet.exchange.modeling_swift")
    return modelling.SwiftForCausalLM, transformers.PreTrainedTokenizerFast


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """No bars and remarks of the library while it loads."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _same_ids(tokenizer: Tokenizer, theirs: Any) -> str:
    texts = _texts(tokenizer)
    for text in texts:
        _expect(theirs.encode(text, add_special_tokens=False), tokenizer.encode(text), text)
    if chat_template(tokenizer.template) is None:
        return f"ids equal on {len(texts)} texts; no chat template is written, see the model card"
    talks = list(_conversations(tokenizer, texts))
    for talk in talks:
        messages = as_messages(talk)
        found = theirs.apply_chat_template(messages, return_dict=False)
        _expect(found, render(talk, tokenizer).ids, str(messages))
        asked = Conversation(talk.messages[:-1])
        found = theirs.apply_chat_template(
            as_messages(asked), add_generation_prompt=True, return_dict=False
        )
        _expect(found, render_prompt(asked, tokenizer), str(as_messages(asked)))
    return f"ids equal on {len(texts)} texts and {len(talks)} conversations"


def _expect(found: Sequence[int], expected: Sequence[int], of: str) -> None:
    if list(found) != list(expected):
        raise CheckpointError(
            f"the export is not right: transformers gives other ids for {of!r}: {list(found)} "
            f"instead of {list(expected)}; nothing was written"
        )


def _texts(tokenizer: Tokenizer) -> Sequence[str]:
    """Texts that the tokenizer can write."""
    if tokenizer.kind == "bpe":
        return TEXTS
    alphabet = [token.decode() for token in tokenizer.tokens]
    return ["".join(random.Random(seed).choices(alphabet, k=60)) for seed in range(len(TEXTS))]


def _conversations(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[Conversation]:
    """Short and long ones, with and without a system message, with a tool call where there are."""
    first, second, *_ = (text.strip() or text for text in texts)
    yield Conversation.of(("user", first), ("assistant", second))
    yield Conversation.of(
        ("system", second), ("user", first), ("assistant", first), ("user", second),
        ("assistant", texts[-1].strip()),
    )  # fmt: skip
    if tokenizer.template.call is not None:
        name = first.split()[0] if first.split() else first
        parts = (Text(first), ToolCall(name, second), ToolResult(first), Text(second))
        yield Conversation((Message.of("user", first), Message("assistant", parts)))


@torch.no_grad()
def _same_logits(ours: Model, theirs: Any, vocab_size: int) -> str:
    length = min(ours.config.context, LONGEST)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (2, length), generator=generator)
    expected = ours(ids, CausalContext.of(ids))
    apart = float((theirs(input_ids=ids).logits - expected).abs().max())
    if not apart <= TOLERANCE * max(1.0, float(expected.std())):
        raise CheckpointError(
            f"the export is not right: transformers' logits are up to {apart:.2g} from ours, and "
            f"{TOLERANCE:g} would be rounding; nothing was written"
        )
    return f"logits equal on {ids.numel()} tokens: at most {apart:.1e} apart"


@torch.no_grad()
def _same_tokens(ours: Model, theirs: Any, tokenizer: Tokenizer) -> str:
    prompt = tokenizer.encode_document(_texts(tokenizer)[0])[: max(1, ours.config.context // 2)]
    new = min(MOST_NEW, ours.config.context - len(prompt))
    engine = Engine(ours, slots=1, length=len(prompt) + new)
    engine.add(
        Request(
            prompt=tuple(prompt),
            max_tokens=new,
            sampling=SamplingSettings(temperature=0.0),
            stop_ids=frozenset({tokenizer.stop_id, tokenizer.bos_id}),
        )
    )
    expected = list(prompt)
    while not engine.idle:
        expected += [event.token for event in engine.step() if event.token is not None]
    ids = torch.tensor([prompt])
    found = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False
    )
    _expect(found[0].tolist(), expected, "the continuation of a prompt")
    return f"greedy tokens equal: {len(expected) - len(prompt)} after {len(prompt)}"
