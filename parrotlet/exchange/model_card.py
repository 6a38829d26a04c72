"""The model card of an export: what it is, how to use it, what was proved, what is not the same."""

from __future__ import annotations

from collections.abc import Sequence

from parrotlet import __version__
from parrotlet.exchange.dialects import chat_template
from parrotlet.exchange.names import shapes
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint

CARD = "README.md"


def model_card(checkpoint: Checkpoint, tokenizer: Tokenizer, proved: Sequence[str]) -> str:
    """README.md in the form of Hugging Face's model cards; nothing in it is guessed."""
    config = checkpoint.config
    size = sum(shape.numel() for shape in shapes(config).values())
    trust = ", trust_remote_code=True" if config.arch == "swift" else ""
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [parrotlet]",
        "---",
        "",
        f"# A {config.arch} of {size:,} parameters",
        "",
        f"Exported by parrotlet {__version__} from step {checkpoint.step} of stage "
        f"{checkpoint.stage}: {config.depth} layers of width {config.width}, "
        f"{config.vocab_size:,} ids, a context of {config.context:,} tokens, float32.",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."  # this folder',
        f"tokenizer = AutoTokenizer.from_pretrained(folder{trust})",
        f"model = AutoModelForCausalLM.from_pretrained(folder{trust})",
        *_use(tokenizer),
        "print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))",
        "```",
        "",
        "## Proved when it was exported",
        "",
        *(f"- {line}" for line in proved),
        "",
        "## What to know",
        "",
        *(f"- {line}" for line in _remarks(checkpoint, tokenizer)),
        "",
    ]
    return "\n".join(lines)


def _use(tokenizer: Tokenizer) -> list[str]:
    """How inputs are made: as the model has learned them."""
    space = " " if tokenizer.template.leading_space else ""
    lines = [
        f"# a document begins with {tokenizer.template.bos}"
        + (" and a space" if space else "")
        + "; the tokenizer does not put them there by itself",
        f'inputs = tokenizer("{tokenizer.template.bos}{space}Once", return_tensors="pt")',
    ]
    if chat_template(tokenizer.template) is not None:
        lines += [
            "# for a model that was fine-tuned on conversations:",
            '# messages = [{"role": "user", "content": "Hello"}]',
            "# inputs = tokenizer.apply_chat_template(",
            '#     messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)',
        ]
    return lines


def _remarks(checkpoint: Checkpoint, tokenizer: Tokenizer) -> list[str]:
    remarks = [
        "transformers turns text that spells a control token into that token; parrotlet never "
        "does. Do not pass it text of strangers without a look at that."
    ]
    padded = checkpoint.config.vocab_size - tokenizer.vocab_size
    if padded:
        remarks.append(f"{padded:,} ids at the end belong to no token.")
    if chat_template(tokenizer.template) is None:
        remarks.append(
            "There is no chat template: this tokenizer tells turns apart by words, which "
            "transformers would cut together with what is said."
        )
    if tokenizer.kind == "char":
        remarks.append(
            "The tokenizer knows single characters only; transformers drops those it does not know."
        )
    return remarks
