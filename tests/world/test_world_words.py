"""The words that the world's tokenizer learns from."""

from __future__ import annotations

import pytest

from parrotlet.recipes import recipe
from parrotlet.stages.pretrain import WORLD_WORDS
from parrotlet.text.train import train_bpe
from parrotlet.world.entities import World
from parrotlet.world.source import WorldWords


@pytest.mark.parametrize("seed", [0, 1])
def test_the_demos_tokenizer_keeps_every_name_whole(seed: int) -> None:
    words = WorldWords(seed, WORLD_WORDS).documents()
    text = recipe("demo").pretrain.text
    tokenizer = train_bpe((each.text for each in words), text.vocab_size, mirror=text.mirror)
    for entity in World(seed).entities:
        name = entity.name.split("'")[0]
        assert len(tokenizer.encode(f" {name}")) == 1, name
