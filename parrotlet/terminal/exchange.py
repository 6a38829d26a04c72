"""`parrotlet import` and `parrotlet export`: models from elsewhere, and for elsewhere."""

from __future__ import annotations

from pathlib import Path

from parrotlet.core.rundir import check_name
from parrotlet.exchange.config import ExportConfig, ImportConfig
from parrotlet.exchange.export import export
from parrotlet.exchange.hf_import import import_folder
from parrotlet.exchange.hub import NAME, fetch_model
from parrotlet.terminal.copied import quoted
from parrotlet.train.checkpoint import find

NEXT = {
    "hf": "the README.md in it shows how transformers loads it",
    "gguf": "ollama create my-model -f {0}/Modelfile, or llama-cli -m {0}/model.gguf",
}


def import_model(config: ImportConfig) -> int:
    """Make a run of a foreign model and say what to do with it."""
    named = Path(config.source).resolve().name if config.name is None else config.name
    directory = config.runs / check_name(named)
    source = Path(config.source)
    if not source.exists() and NAME.fullmatch(config.source):
        source = _fetched(config)
    import_folder(source, directory, chat_tokens=config.chat_tokens)
    named = quoted(directory)
    print(f"done: {directory}. Next: parrotlet sample {named} Once, or parrotlet chat {named}")
    return 0


def _fetched(config: ImportConfig) -> Path:
    """The folder of a model that is fetched by its name."""
    print(f"{config.source} is no folder here: asking the hub for a model of that name")
    return fetch_model(
        config.source,
        config.downloads,
        revision=config.revision,
        endpoint=config.endpoint,
        say=print,
    )


def export_model(config: ExportConfig) -> int:
    """Write a model for another program and say what was proved."""
    for line in export(find(config.run), config.to, config.out, kind=config.kind):
        print(line)
    print(f"done: {config.out}. Next: {NEXT[config.to].format(quoted(config.out))}")
    return 0
