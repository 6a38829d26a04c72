"""A tokenizer of transformers as one of ours: byte-level BPE as GPT-2 and Qwen have it.

Taken are tokenizer.json, or vocab.json with merges.txt. Ordinary tokens must come first, in the
order of their merges; every added token becomes a control token, which no text can turn into.
Where text would be cut or altered in a way that is not known here, the tokenizer is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrotlet.core.errors import CheckpointError, DataError, RunError
from parrotlet.core.rundir import read_json
from parrotlet.exchange.dialects import IM_END, IM_START, chat_template, chatml, plain
from parrotlet.exchange.hf_tokenizer_write import TEMPLATE_KEY, TOKENIZER, TOKENIZER_CONFIG
from parrotlet.exchange.merges import merges_of, pair_names
from parrotlet.text.bpe import NUM_BYTES, QWEN2_PATTERN
from parrotlet.text.gpt2_vocab import END_OF_TEXT, GPT2_PATTERN, byte_alphabet
from parrotlet.text.template import Template
from parrotlet.text.tokenizer import Kind, Tokenizer

VOCAB, MERGES, CHAT_TEMPLATE = "vocab.json", "merges.txt", "chat_template.jinja"


@dataclass(frozen=True)
class Vocabulary:
    """What the files say, as they say it."""

    ids: Mapping[str, int]  # of ordinary tokens, by their names
    merges: tuple[tuple[str, str], ...]
    added: Mapping[str, int]
    kind: Kind
    pattern: str
    nfc: bool


def read_tokenizer(folder: Path, arch: str) -> tuple[Tokenizer, str]:
    """The tokenizer of a folder, and a sentence on its chat template.

    CheckpointError where there is none, or one that would give other ids here.
    """
    settings = _read(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).exists() else {}
    try:
        vocabulary = _vocabulary(folder, arch, settings)
        tokens = _tokens(vocabulary)
        specials = _specials(vocabulary, len(tokens))
        template, note = _template(folder, settings, specials)
        return (
            Tokenizer(vocabulary.kind, tokens, template, vocabulary.pattern, vocabulary.nfc),
            note,
        )
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, DataError) else f"unexpected content, {error!r}"
        raise CheckpointError(f"the tokenizer in {folder} cannot be used: {said}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except RunError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object; download the model again")
    return value


def _vocabulary(folder: Path, arch: str, settings: Mapping[str, Any]) -> Vocabulary:
    if (folder / TOKENIZER).exists():
        return _from_tokenizer_json(_read(folder / TOKENIZER))
    if not (folder / VOCAB).exists() or not (folder / MERGES).exists():
        raise CheckpointError(
            f"{folder} has no tokenizer: neither {TOKENIZER} nor {VOCAB} with {MERGES}; copy the "
            "model's own into it"
        )
    added = {each["content"]: int(at) for at, each in _decoder(settings).items()}
    ids = _read(folder / VOCAB)
    if not added and END_OF_TEXT in ids:  # GPT-2 had no list of added tokens
        added = {END_OF_TEXT: ids[END_OF_TEXT]}
    lines = (folder / MERGES).read_text(encoding="utf-8").split("\n")
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    qwen = arch != "gpt2"
    return Vocabulary(
        ids={name: at for name, at in ids.items() if name not in added},
        merges=tuple((left, right) for left, right in pairs),
        added=added,
        kind="bpe",
        pattern=QWEN2_PATTERN if qwen else GPT2_PATTERN,
        nfc=qwen,
    )


def _decoder(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = settings.get("added_tokens_decoder", {})
    return found


def _from_tokenizer_json(value: Mapping[str, Any]) -> Vocabulary:
    model = value["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise DataError(f"its model is {model.get('type')}, and only byte-level BPE can be used")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise DataError("it marks the parts of words, which is not done here")
    added = {each["content"]: int(each["id"]) for each in value["added_tokens"]}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    kind, pattern = _cutting(value["pre_tokenizer"])
    return Vocabulary(
        ids={name: at for name, at in model["vocab"].items() if name not in added},
        merges=tuple((left, right) for left, right in pairs),
        added=added,
        kind=kind,
        pattern=pattern,
        nfc=_composes(value["normalizer"]),
    )


def _cutting(value: Any) -> tuple[Kind, str]:
    """How text is cut into words: by GPT-2's pattern, by Qwen2's, or (ours) into characters."""
    if value is None:
        return "char", ""
    parts = value["pretokenizers"] if value["type"] == "Sequence" else [value]
    last = parts[-1]
    if last["type"] == "ByteLevel" and not last.get("add_prefix_space"):
        if len(parts) == 1 and last.get("use_regex", True):
            return "bpe", GPT2_PATTERN
        cut = parts[0]
        if len(parts) == 2 and cut["type"] == "Split" and not last.get("use_regex", True):
            pattern = cut["pattern"].get("Regex")
            plain_split = cut["behavior"] == "Isolated" and not cut.get("invert")
            if pattern in (GPT2_PATTERN, QWEN2_PATTERN) and plain_split:
                return "bpe", pattern
    raise DataError("it cuts text in another way than GPT-2 and Qwen, which are supported")


def _composes(value: Any) -> bool:
    """Whether text is brought to NFC first; another normaliser is refused."""
    parts = value["normalizers"] if value and value["type"] == "Sequence" else [value]
    kinds = {part["type"] for part in parts if part}
    if kinds - {"NFC"}:
        raise DataError(f"it alters text first ({', '.join(sorted(kinds))}); only NFC is supported")
    return bool(kinds)


def _tokens(vocabulary: Vocabulary) -> tuple[bytes, ...]:
    """The bytes of every ordinary token; DataError where ids are not the order of merges."""
    names = sorted(vocabulary.ids, key=lambda name: vocabulary.ids[name])
    if [vocabulary.ids[name] for name in names] != list(range(len(names))):
        raise DataError("its ordinary tokens are not numbered from 0 without a gap")
    if vocabulary.kind == "char":
        if vocabulary.merges or any(len(name) != 1 for name in names):
            raise DataError("it does not cut text into words, which byte-level BPE needs")
        return tuple(name.encode() for name in names)
    alphabet = byte_alphabet()
    strange = {character for name in names for character in name} - alphabet.keys()
    if strange:
        raise DataError(f"{min(strange)!r} stands for no byte; only byte-level BPE can be used")
    tokens = tuple(bytes(alphabet[character] for character in name) for name in names)
    if set(tokens[:NUM_BYTES]) != {bytes([value]) for value in range(NUM_BYTES)}:
        raise DataError(f"its first {NUM_BYTES} tokens are not the single bytes")
    merges = merges_of(tokens)
    if merges is None or tuple(pair_names(merges)) != vocabulary.merges:
        raise DataError("its tokens are not numbered in the order of its merges")
    return tokens


def _specials(vocabulary: Vocabulary, first: int) -> tuple[str, ...]:
    names = sorted(vocabulary.added, key=lambda name: vocabulary.added[name])
    ids = [vocabulary.added[name] for name in names]
    if not names or ids != list(range(first, first + len(names))):
        raise DataError(
            f"its added tokens have the ids {ids[:8]}; there must be some, and they must follow "
            f"its {first} ordinary tokens without a gap"
        )
    return tuple(names)


def _template(
    folder: Path, settings: Mapping[str, Any], specials: tuple[str, ...]
) -> tuple[Template, str]:
    """How conversations are written, as far as it is known, and a sentence about that."""
    found = _chat_template(folder, settings)
    if TEMPLATE_KEY in settings:
        own = Template.from_json(settings[TEMPLATE_KEY])
        if own.specials == specials and chat_template(own) == found:
            return own, "its chat template is parrotlet's own"
    bos = _named(settings, "bos_token", specials) or (
        END_OF_TEXT if END_OF_TEXT in specials else specials[0]
    )
    if found is not None and IM_START in found and {IM_START, IM_END} <= set(specials):
        return chatml(specials, bos), (
            "its chat template is taken as ChatML: what it does beyond that (a default system "
            "prompt, thinking, tools) is left out"
        )
    stop = _named(settings, "eos_token", specials) or bos
    about = "it has no chat template" if found is None else "its chat template is not ChatML"
    return plain(specials, bos, stop), (
        f"{about}: turns are told apart by words (User:, Assistant:); with --chat-tokens they get "
        "control tokens"
    )


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The text of the chat template: from a file of its own, or from the settings."""
    if (folder / CHAT_TEMPLATE).exists():
        return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
    found = settings.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {each["name"]: each["template"] for each in found}.get("default")
    return found if isinstance(found, str) else None


def _named(settings: Mapping[str, Any], role: str, specials: tuple[str, ...]) -> str | None:
    """The control token that has a role, where the settings say which."""
    found = settings.get(role)
    name = found.get("content") if isinstance(found, Mapping) else found
    return name if name in specials else None
