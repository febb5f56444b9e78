"""The losses: pointer, dwell, offsets, answer, findings, and what lies in a glimpse or a patch. Whatever is unknown is
masked, nothing is invented.

Targets of the pointer: patch index, STOP for the step after the last fixation, IGNORED for everything behind it.

Each loss is a mean over what is known in the batch. Where a step of training is spread over several batches or
processes, each takes its share of the joint mean instead: its sum over the number that all of them know together
(`LossCounts`); the shares add up to what one large batch would have cost.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from gazevlm_core.model.outputs import GazeLosses, States, Supervision
from gazevlm_core.model.pointer import PointerField


class LossCounts(NamedTuple):
    """Denominators of the losses, float scalars: supervised steps, answers, known findings, known durations, fixations
    whose place in their patch is known, and known contents of glimpses and of patches.

    None takes what the batch itself knows.
    """

    steps: torch.Tensor | None = None
    answers: torch.Tensor | None = None
    findings: torch.Tensor | None = None
    durations: torch.Tensor | None = None
    offsets: torch.Tensor | None = None
    contents: torch.Tensor | None = None
    patch_contents: torch.Tensor | None = None


STOP = -1
IGNORED = -100


def pointer_log_probabilities(fields: PointerField, previous: torch.Tensor, patch_mask: torch.Tensor) -> torch.Tensor:
    """Return log probabilities of every choice at every step, teacher-forced.

    Args:
        fields: batched pointer, [B, K, d], [B, P + 1, d], [B, P + 1, d], patches padded to the largest grid.
        previous: int64 [B, S, K], patch fixated before; P (the padded width) for none.
        patch_mask: bool [B, P], True for patches that exist.

    Returns:
        float32 [B, S, K, P + 1], normalised over the existing patches and the stop; no stop at the first step, nor
        anywhere where paths do not stop.
    """
    batch, _, steps = previous.shape
    rows = torch.arange(batch, device=previous.device)[:, None, None]
    queries = fields.step_queries[:, None] + fields.previous_queries[rows, previous]  # [B, S, K, d]
    logits = torch.einsum("bskd,bpd->bskp", queries, fields.keys) / fields.keys.shape[-1] ** 0.5
    allowed = functional.pad(patch_mask, (0, 1), value=True)[:, None, None].expand(batch, 1, steps, -1).clone()
    allowed[:, :, : 1 if fields.stops else None, -1] = False
    if not fields.repeats:
        several = patch_mask.sum(dim=-1)[:, None, None] > 1  # a grid of one patch has no other
        repeated = functional.one_hot(previous, allowed.shape[-1]).bool()
        allowed = allowed & ~(repeated & (several & (previous < patch_mask.shape[1]))[..., None])
    return logits.masked_fill(~allowed, float("-inf")).log_softmax(dim=-1)


def previous_patches(targets: torch.Tensor, start: int) -> torch.Tensor:
    """Return the predecessors: targets [B, S, K] shifted by one step, `start` at the first step and where none is
    known."""
    shifted = functional.pad(targets[..., :-1], (1, 0), value=IGNORED)
    return torch.where(shifted >= 0, shifted, torch.full_like(shifted, start))


def soft_targets(
    targets: torch.Tensor, cols: torch.Tensor, patch_mask: torch.Tensor, sigma_patches: float
) -> torch.Tensor:
    """Return a Gaussian around each fixated patch, float32 [B, S, K, P]; each sums to 1 on its image's grid.

    Made where the targets are, from as many numbers: a table of all pairs of patches would be P / (S K) times as large.

    Args:
        targets: int64 [B, S, K] of patch index, STOP or IGNORED; what stands for the latter two means nothing.
        cols: int64 [B], of each image's grid.
        patch_mask: bool [B, P].
        sigma_patches: its width.
    """
    patches = torch.arange(patch_mask.shape[1], device=targets.device)
    cols = cols[:, None, None, None]
    fixated = targets.clamp(min=0)[..., None]
    down, along = patches // cols - fixated // cols, patches % cols - fixated % cols
    squared = (down.square() + along.square()).float()
    return (-squared / (2 * sigma_patches**2)).masked_fill(~patch_mask[:, None, None], float("-inf")).softmax(dim=-1)


def pointer_loss(
    fields: PointerField,
    targets: torch.Tensor,
    patch_mask: torch.Tensor,
    soft: torch.Tensor | None = None,
    count: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy in nats per supervised step, over all readers of all images.

    Args:
        fields: as in `pointer_log_probabilities`.
        targets: int64 [B, S, K] of patch index, STOP or IGNORED; STOP is ignored where paths do not stop.
        patch_mask: bool [B, P].
        soft: float [B, S, K, P], the distribution that stands in for each fixated patch as a target, zero outside the
            image's grid; None for the patch alone.
        count: of the supervised steps of all batches that share a step of training; None for this batch's own.

    Returns:
        A scalar; zero (with a gradient of zero) where no step is supervised.
    """
    stop_index = patch_mask.shape[1]
    log_probabilities = pointer_log_probabilities(fields, previous_patches(targets, stop_index), patch_mask)
    classes = torch.where(targets == STOP, torch.full_like(targets, stop_index), targets)
    known = supervised_steps(targets, stops=fields.stops)
    chosen = log_probabilities.gather(-1, classes.clamp(min=0)[..., None]).squeeze(-1)
    if soft is not None:
        over_patches = log_probabilities[..., :-1]
        over_patches = over_patches.masked_fill(over_patches.isneginf(), 0.0)
        chosen = torch.where(targets >= 0, (soft * over_patches).sum(dim=-1), chosen)
    return -chosen.masked_fill(~known, 0.0).sum() / _at_least_one(known.sum(), count)


def supervised_steps(targets: torch.Tensor, *, stops: bool) -> torch.Tensor:
    """Return which steps have a target, bool [B, S, K]; STOP is none where paths do not stop."""
    return (targets >= 0) | ((targets == STOP) & stops)


def count_supervision(batch: Mapping[str, Any], *, stops: bool) -> LossCounts:
    """Return what a batch of `GazeCollator` knows, for shares of a joint mean.

    Args:
        batch: arguments of `GazeVLM.forward`.
        stops: whether paths stop.
    """
    labels, targets = batch.get("labels"), batch.get("gaze_targets")
    durations, findings = batch.get("gaze_durations_ms"), batch.get("finding_labels")
    offsets, contents = batch.get("gaze_offsets"), batch.get("glimpse_contents")
    patch_contents = batch.get("patch_contents")
    nothing = torch.zeros(())
    return LossCounts(
        nothing if targets is None else supervised_steps(targets, stops=stops).sum(),
        nothing if labels is None else (labels[:, 1:] != -100).any(dim=-1).sum(),
        nothing if findings is None else (~findings.isnan()).sum(),
        nothing if durations is None else (durations > 0).sum(),
        nothing if offsets is None else (~offsets[..., 0].isnan()).sum(),
        nothing if contents is None else (~contents.isnan()).sum(),
        nothing if patch_contents is None else (~patch_contents.isnan()).sum(),
    )


def _at_least_one(own: torch.Tensor, joint: torch.Tensor | None) -> torch.Tensor:
    return (own if joint is None else joint).clamp(min=1)


def answer_loss(
    logits: torch.Tensor, labels: torch.Tensor, answers: torch.Tensor, count: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the cross-entropy in nats per token: the mean within each answer, then over the answers.

    Every answer weighs the same. A mean over all tokens would leave next to nothing to the one word that decides a
    yes-or-no answer, beside reports of dozens of words in the same batch.

    Args:
        logits: [T, V] at the positions that predict an answer token.
        labels: int64 [T].
        answers: int64 [T], which answer each token belongs to; any numbers.
        count: as in `pointer_loss`, of answers.
    """
    if labels.numel() == 0:
        return logits.sum() * 0.0
    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    _, which, lengths = answers.unique(return_inverse=True, return_counts=True)
    return (losses / lengths[which]).sum() / _at_least_one(torch.tensor(len(lengths), device=losses.device), count)


def finding_loss(logits: torch.Tensor, labels: torch.Tensor, count: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean binary cross-entropy over known labels; labels [B, F] in {0, 1}, NaN where unknown; `count` of
    those."""
    known = ~labels.isnan()
    losses = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    return losses.masked_fill(~known, 0.0).sum() / _at_least_one(known.sum(), count)


def dwell_loss(
    log_durations: torch.Tensor, durations_ms: torch.Tensor, count: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean smooth-L1 distance of log durations; durations in ms, NaN where unknown; `count` of those. Equal
    shapes."""
    known = durations_ms > 0  # False for NaN
    targets = torch.where(known, durations_ms, torch.ones_like(durations_ms)).log()
    losses = functional.smooth_l1_loss(log_durations, targets, reduction="none")
    return losses.masked_fill(~known, 0.0).sum() / _at_least_one(known.sum(), count)


def offset_loss(offsets: torch.Tensor, targets: torch.Tensor, count: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean smooth-L1 distance of places in their patches, [..., 2] each, NaN where unknown; `count` of known
    ones."""
    known = ~targets.isnan()
    losses = functional.smooth_l1_loss(offsets, targets.nan_to_num(), reduction="none", beta=0.1)  # a tenth of a patch
    return losses.masked_fill(~known, 0.0).sum() / _at_least_one(known[..., 0].sum(), count)


def _path_losses(
    model: Any, states: States, known: Supervision, targets: torch.Tensor, counts: LossCounts  # noqa: ANN401
) -> dict[str, torch.Tensor]:
    """Return the losses of the pointer, the dwell head and the offset head."""
    gaze, heads, device = model.config.gaze_config, model.gaze_heads, states.hidden.device
    patch_hidden = pad_sequence(list(states.patches), batch_first=True)  # [B, P, D]
    sizes = torch.tensor([len(grid) for grid in states.grids], device=device)
    patch_mask = torch.arange(patch_hidden.shape[1], device=device) < sizes[:, None]
    soft = None
    if gaze.target_sigma_patches:
        cols = torch.tensor([grid.cols for grid in states.grids], device=targets.device)
        soft = soft_targets(targets, cols, patch_mask, gaze.target_sigma_patches)
    fields = heads.fields(states.gaze_hidden, patch_hidden)
    parts = {"gaze_loss": pointer_loss(fields, targets, patch_mask, soft, counts.steps)}
    rows = torch.arange(len(sizes), device=device)[:, None, None]
    fixated = patch_hidden[rows, targets.clamp(min=0)]  # [B, S, K, D]
    gaze_hidden = states.gaze_hidden[:, None].expand_as(fixated)
    if known.durations_ms is not None:
        parts["dwell_loss"] = dwell_loss(
            heads.log_durations(gaze_hidden, fixated), known.durations_ms, counts.durations
        )
    if known.offsets is not None and gaze.use_offsets:
        parts["offset_loss"] = offset_loss(heads.offsets(gaze_hidden, fixated), known.offsets, counts.offsets)
    return parts


def weighted_losses(model: Any, states: States, known: Supervision, counts: LossCounts) -> GazeLosses:  # noqa: ANN401
    """Return all losses of a batch and their weighted sum.

    Args:
        model: a `GazeVLM`, whose heads and configuration are taken.
        states: of its pass.
        known: what supervises it.
        counts: of all batches that share a step of training.
    """
    gaze, parts = model.config.gaze_config, dict[str, torch.Tensor]()
    hidden, labels = states.hidden, known.labels
    if labels is not None:
        predicts = labels[:, 1:] != -100  # position t predicts token t + 1
        words, rows = model.lm_head(hidden[:, :-1][predicts]), predicts.nonzero()[:, 0]
        parts["text_loss"] = answer_loss(words, labels[:, 1:][predicts], rows, counts.answers)
    with torch.autocast(hidden.device.type, enabled=False):  # the heads stay in float32
        if known.targets is not None:
            parts |= _path_losses(model, states, known, known.targets, counts)
        if known.findings is not None and gaze.num_head_findings:
            logits = model.gaze_heads.finding_logits(states.gaze_hidden, states.glimpses)
            parts["finding_loss"] = finding_loss(logits, known.findings, counts.findings)
        if known.contents is not None and states.glimpse_tokens is not None and gaze.num_head_findings:
            logits = model.gaze_heads.local_logits(states.glimpse_tokens)
            parts["local_loss"] = finding_loss(logits, known.contents, counts.contents)
        if known.patch_contents is not None and states.image_tokens is not None and gaze.num_head_findings:
            logits = model.gaze_heads.local_logits(torch.cat(list(states.image_tokens))[:, None])
            parts["patch_finding_loss"] = finding_loss(logits, known.patch_contents, counts.patch_contents)
    weights = {name: getattr(gaze, name.replace("_loss", "_weight")) for name in parts}
    nothing = torch.zeros((), device=hidden.device)
    total = sum((weights[name] * value for name, value in parts.items()), start=nothing)
    return GazeLosses(loss=total, **parts)
