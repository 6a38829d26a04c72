"""From scores to one drawn id for each row: temperature, top-k, top-p, min-p, in this order.

Nothing sorts the vocabulary: top-k and top-p look at the best candidates alone. Where top-p needs
more of them than CANDIDATES, its row is done again with all. Every operation works on a row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from parrotlet.engine.request import SamplingSettings

COLDEST = 1e-30  # a smaller temperature would be 0 in float32
CANDIDATES = 128  # of top-p
NO_LIMIT = 2**62
BLOCK, DEEP = 128, 16  # ids that are looked at together, for the best and for several


class Cuts(NamedTuple):
    """Settings of some rows, one column each."""

    temperature: Float[Tensor, "N 1"]
    top_k: Int[Tensor, "N 1"]
    top_p: Float[Tensor, "N 1"]
    min_p: Float[Tensor, "N 1"]

    @staticmethod
    def of(settings: Sequence[SamplingSettings], device: torch.device) -> Cuts:
        """The columns of one row for each of `settings`."""
        values = [(max(each.temperature, COLDEST), each.top_p, each.min_p) for each in settings]
        numbers = torch.tensor(values, dtype=torch.float32, device=device)
        kept = [[min(each.top_k or NO_LIMIT, NO_LIMIT)] for each in settings]
        limits = torch.tensor(kept, device=device)
        return Cuts(numbers[:, :1], limits, numbers[:, 1:2], numbers[:, 2:])


def best(
    scores: Float[Tensor, "N V"], count: int
) -> tuple[Float[Tensor, "N W"], Int[Tensor, "N W"]]:
    """The `count` highest of each row in falling order with their ids; of equals the lower ids."""
    count = min(count, scores.shape[-1])
    values, ids = _topk(scores, min(count + 1, scores.shape[-1]))
    if values.shape[-1] > count:
        cut_between_equals = values[:, count - 1] == values[:, count]
        values, ids = values[:, :count], ids[:, :count].contiguous()
        if bool(cut_between_equals.any()):
            _take_first(scores, values, ids, cut_between_equals)
    ids = ids.sort(-1).values
    values, order = scores.gather(1, ids).sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _take_first(
    scores: Float[Tensor, "N V"],
    values: Float[Tensor, "N W"],
    ids: Int[Tensor, "N W"],
    rows: Bool[Tensor, " N"],
) -> None:
    """In these rows of `ids`, let the last of `values` and its equals have the lowest ids."""
    last = values[:, -1:].masked_fill(~rows[:, None], float("nan"))  # equals nothing
    row, id = (scores == last).nonzero(as_tuple=True)  # by row, then by id
    starts = torch.searchsorted(row, torch.arange(len(rows), device=row.device))
    place = torch.arange(len(row), device=row.device) - starts[row] + (values > last).sum(-1)[row]
    fits = place < values.shape[-1]
    ids[row[fits], place[fits]] = id[fits]


def _topk(
    scores: Float[Tensor, "N V"], count: int
) -> tuple[Float[Tensor, "N W"], Int[Tensor, "N W"]]:
    """scores.topk(count), two to three times as fast where that is few: the best are in the columns
    with the highest maxima, of DEEP rows, and in what is left over.
    """
    width = scores.shape[-1] // DEEP
    if width < 4 * count:
        return scores.topk(count)
    tops = scores[:, : width * DEEP].unflatten(1, (DEEP, width)).amax(1).topk(count).indices
    ids = torch.arange(scores.shape[-1], device=scores.device)
    inside = (tops[:, None] + ids[: width * DEEP : width, None]).flatten(1)
    ids = torch.cat((inside, ids[width * DEEP :].expand(len(scores), -1)), 1)
    values, order = scores.gather(1, ids).topk(count)
    return values, ids.gather(1, order)


def first_best(scores: Float[Tensor, "N V"]) -> Int[Tensor, " N"]:
    """The best id of each row; of equals the first. An argmax of blocks' maxima, then of a block:
    torch finds a maximum ten times as fast as its place.
    """
    size = scores.shape[-1]
    if size < 2 * BLOCK:
        return scores.argmax(-1)
    whole = scores[:, : size // BLOCK * BLOCK].unflatten(1, (-1, BLOCK)).amax(-1)
    peaks = torch.cat((whole, scores[:, -BLOCK:].amax(-1, keepdim=True)), 1)
    starts = (peaks.argmax(-1, keepdim=True) * BLOCK).clamp_(max=size - BLOCK)
    places = starts + torch.arange(BLOCK, device=scores.device)
    return (starts + scores.gather(1, places).argmax(-1, keepdim=True))[:, 0]


def weigh(scores: Float[Tensor, "N V"], cuts: Cuts) -> Float[Tensor, "N V"]:
    """exp(score / temperature), 1 for the best and 0 under min-p of it."""
    top = scores.amax(-1, keepdim=True)  # becomes 0, so that no temperature overflows
    weights = ((scores - top) / cuts.temperature).exp_()
    return weights.masked_fill_(weights < cuts.min_p, 0.0)


def weigh_best(
    scores: Float[Tensor, "N V"], cuts: Cuts, width: int
) -> tuple[Float[Tensor, "N W"], Int[Tensor, "N W"], Bool[Tensor, " N"]]:
    """Weights and ids of each row's `width` best (at least its top-k, where it has one), cut.

    Top-p (Holtzman et al. 2019: the fewest tokens whose probabilities reach p) counts the
    probabilities of what top-k has left. Last: which rows would need more than `width` for it.
    """
    values, ids = best(scores, width)
    whole = cuts.top_k > ids.shape[-1]  # rows without top-k
    weights = ((values - values[:, :1]) / cuts.temperature).exp_()
    weights.masked_fill_(torch.arange(ids.shape[-1], device=ids.device) >= cuts.top_k, 0.0)
    mass = weights.cumsum(-1)
    enough = cuts.top_p * mass[:, -1:]
    if bool(whole.any()):
        everything = ((scores - values[:, :1]) / cuts.temperature).exp_().sum(-1, keepdim=True)
        enough = torch.where(whole, cuts.top_p * everything, enough)
    too_few = (whole & (mass[:, -1:] < enough))[:, 0]
    weights.masked_fill_((mass - weights >= enough) & (cuts.top_p < 1), 0.0)
    return weights.masked_fill_(weights < cuts.min_p, 0.0), ids, too_few


def draw(weights: Float[Tensor, "N W"], uniforms: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
    """The first place where the cumulative weight exceeds the uniform number's share of all.

    There always is one: in float32, total * (1 - 2**-24) is less than the total. (With NaN there
    is not; the caller finds that out.)
    """
    cumulative = weights.cumsum(-1)
    wanted = uniforms[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    return found.clamp_(max=weights.shape[-1] - 1)


def choose(
    scores: Float[Tensor, "N V"],
    settings: Sequence[SamplingSettings],
    uniforms: Float[Tensor, " N"],
) -> Int[Tensor, " N"]:
    """The drawn ids. All rows have a temperature; all have top-k or top-p, or none has."""
    cuts = Cuts.of(settings, scores.device)
    if not looks_at_best(settings[0], scores.shape[-1]):
        return draw(weigh(scores, cuts), uniforms)
    widths = [each.top_k or CANDIDATES for each in settings]
    weights, ids, too_few = weigh_best(scores, cuts, max(widths))
    found = ids.gather(1, draw(weights, uniforms)[:, None])[:, 0]
    for row in too_few.nonzero()[:, 0].tolist() if ids.shape[-1] < scores.shape[-1] else ():
        again = Cuts(*(column[row : row + 1] for column in cuts))
        weights, ids, _ = weigh_best(scores[row : row + 1], again, scores.shape[-1])
        found[row] = ids[0, draw(weights, uniforms[row : row + 1])[0]]
    return found


def looks_at_best(settings: SamplingSettings, vocab_size: int) -> bool:
    """Whether top-k or top-p leaves anything out."""
    return settings.top_p < 1 or (settings.top_k or NO_LIMIT) < vocab_size
