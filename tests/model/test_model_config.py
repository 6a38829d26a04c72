"""ModelConfig refuses shapes that cannot work, in one sentence, and comes back from JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.model.config import ModelConfig

GOOD: dict[str, Any] = {
    "arch": "qwen3",
    "vocab_size": 50,
    "context": 16,
    "depth": 2,
    "width": 24,
    "heads": 6,
    "kv_heads": 2,
    "head_width": 4,
    "mlp_width": 64,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depth": 0}, "depth is 0; it must be at least 1"),
        ({"mlp_width": -3}, "mlp_width is -3; it must be at least 1"),
        ({"kv_heads": 4}, "6 heads cannot share 4 key-value heads"),
        ({"head_width": 3}, "head width 3 is odd"),
        ({"arch": "gpt2", "kv_heads": 6, "width": 25}, "width 25 is not 6 heads of 4"),
        ({"arch": "gpt2"}, "a key-value head for each of its 6 heads, not 2"),
        ({"arch": "swift"}, "set tied to False"),
        ({"bigrams": 100}, "bigrams is 100, and only swift has a table of pairs"),
        ({"arch": "swift", "tied": False, "bigrams": -1}, "bigrams is -1; it must be from 0"),
        ({"arch": "swift", "tied": False, "bigrams": 10**12}, "must be from 0 to the"),
    ],
)
def test_shapes_that_cannot_work(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        ModelConfig(**{**GOOD, **changes})


def test_json_and_back() -> None:
    config = ModelConfig(**GOOD)
    assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(TypeError):
        ModelConfig.from_json({**GOOD, "colour": 3})
