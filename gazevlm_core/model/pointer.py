"""The heads on the gaze states: a pointer over patches with a stop, a dwell head and a finding head.

Pointer logits at step k = W_q[h_k ; v_prev] . W_k v_p / sqrt(d), plus one stop logit with a learned key. The query is a
sum, W_h h_k + W_v v_prev, so the logits are one too: of a table by step and one by the patch before, both made once per
image (`PointerField`). Sampling only gathers their rows: N paths cost N rows per step, not a pass of the backbone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

from gazevlm_core.model.configuration_gazevlm import GazeConfig, PointerKeys
from gazevlm_core.model.outputs import Glimpses

# Weights with one row for each finding of the head; the others than `finding` are those of models with glimpses.
FINDING_ROWS = (
    "finding.weight", "finding.bias", "finding_attention.weight", "local.weight", "local.bias",
    "glimpse_finding.weight", "glimpse_finding.bias", "glimpse_attention.weight",
)  # fmt: skip
RARE = -5.0  # first logit of a finding at a token of the vision tower: hardly any shows it


@dataclass(frozen=True)
class PointerField:
    """The pointer of one image, ready to be walked, or of several with as many patches, behind one dimension more.

    Args:
        step_queries: [..., K, d], from the gaze states.
        previous_queries: [..., P + 1, d], by the patch fixated before; the last row is the start. Zeros in the plain
            form.
        keys: [..., P + 1, d], one per patch; the last row is the stop.
        stops: whether a path may be shorter than K.
        repeats: whether consecutive fixations may lie in one patch.
    """

    step_queries: torch.Tensor
    previous_queries: torch.Tensor
    keys: torch.Tensor
    stops: bool = True
    repeats: bool = True

    @property
    def num_steps(self) -> int:
        """K, the longest path."""
        return self.step_queries.shape[-2]

    @property
    def num_patches(self) -> int:
        """P; the index P itself stands for the start (as a predecessor) and for the stop (as a choice)."""
        return self.keys.shape[-2] - 1

    def logits(self, step: int, previous: torch.Tensor) -> torch.Tensor:
        """Return logits over patches and stop.

        Args:
            step: k in [0, K).
            previous: int64 [..., N], patch fixated before, P for none.

        Returns:
            float32 [..., N, P + 1]; stopping before the first fixation (or ever, without stops) has logit -inf.
        """
        return self._by_step[..., step, None, :] + self._by_previous(previous)

    def along(self, previous: torch.Tensor) -> torch.Tensor:
        """Return `logits` of every step of one path, float32 [..., K, P + 1], from its predecessors, int64 [..., K]."""
        return self._by_step + self._by_previous(previous)

    @property
    def logit_tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The two summands of the logits: by step, [..., K, P + 1], and by the patch before, [..., P + 1, P + 1]."""
        return self._by_step, self._previous_table

    @cached_property
    def _by_step(self) -> torch.Tensor:
        """The steps' part of the logits, [..., K, P + 1]."""
        table = self.step_queries @ self.keys.mT / self.keys.shape[-1] ** 0.5
        table[..., : 1 if self.stops else None, -1] = float("-inf")
        return table

    @cached_property
    def _previous_table(self) -> torch.Tensor:
        table = self.previous_queries @ self.keys.mT / self.keys.shape[-1] ** 0.5
        if not self.repeats and self.num_patches > 1:
            table.diagonal(dim1=-2, dim2=-1)[..., :-1] = float("-inf")
        return table

    def _by_previous(self, previous: torch.Tensor) -> torch.Tensor:
        """Return the part of the patches before, [..., N, P + 1], from int64 [..., N]."""
        return self._previous_table.gather(-2, previous[..., None].expand(*previous.shape, self.keys.shape[-2]))


def stack_fields(fields: Sequence[PointerField]) -> PointerField:
    """Return several images' pointers as one; all have as many patches.

    Raises:
        RuntimeError: other numbers of patches.
    """
    return PointerField(
        torch.stack([one.step_queries for one in fields]),
        torch.stack([one.previous_queries for one in fields]),
        torch.stack([one.keys for one in fields]),
        fields[0].stops,
        fields[0].repeats,
    )


class GazeHeads(nn.Module):
    """All trained parts outside the backbone; kept in float32 and never quantised.

    Args:
        hidden_size: width D of the backbone's last hidden state.
        config: gaze configuration.
    """

    def __init__(self, hidden_size: int, config: GazeConfig) -> None:
        super().__init__()
        self.use_previous_patch, self.stops, self.repeats = config.use_previous_patch, config.stops, config.repeats
        self.query = nn.Linear(hidden_size, config.pointer_dim, bias=False)
        if config.pointer_keys == PointerKeys.INDEX:
            self.index_keys = nn.Embedding(config.index_patches, config.pointer_dim)
        else:
            self.key = nn.Linear(hidden_size, config.pointer_dim, bias=False)
        self.by_index = config.pointer_keys == PointerKeys.INDEX
        self.stop_key = nn.Parameter(torch.zeros(config.pointer_dim))
        if config.use_previous_patch:
            self.previous = nn.Linear(hidden_size, config.pointer_dim, bias=False)
            self.start = nn.Parameter(torch.zeros(hidden_size))
        self.dwell = nn.Linear(2 * hidden_size, 1)
        if config.use_offsets:
            self.offset = nn.Linear(2 * hidden_size, 2)
        self.finding = nn.Linear(hidden_size, max(1, config.num_head_findings))
        self.glimpsing = config.num_glimpses > 0
        if self.glimpsing:
            self.finding_attention = nn.Linear(hidden_size, max(1, config.num_head_findings), bias=False)
        if config.finds_locally:
            self.local = nn.Linear(hidden_size, max(1, config.num_head_findings))
        self.compares = self.glimpsing and config.glimpse_states
        if self.compares:
            self.glimpse_finding = nn.Linear(hidden_size, max(1, config.num_head_findings))
            self.glimpse_attention = nn.Linear(hidden_size, max(1, config.num_head_findings), bias=False)
        if config.usual_places:
            self.placed = nn.Linear(hidden_size, len(config.usual_places))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set fresh weights; the start and stop vectors are small but not zero, so that they get gradients apart."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.reset_own(nn.init)

    def reset_own(self, init: ModuleType) -> None:
        """Set fresh vectors, and what is not as in any linear layer; `init` is torch's or the library's module for
        it."""
        if self.by_index:
            init.normal_(self.index_keys.weight)
        init.normal_(self.stop_key, std=0.02)
        if self.use_previous_patch:
            init.normal_(self.start, std=0.02)
        if hasattr(self, "local"):
            init.constant_(self.local.bias, RARE)
        if self.compares:  # begins as a head that takes each glimpse for itself
            for part in (self.glimpse_finding.weight, self.glimpse_finding.bias, self.glimpse_attention.weight):
                init.zeros_(part)

    def fields(self, gaze_hidden: torch.Tensor, patch_hidden: torch.Tensor) -> PointerField:
        """Return the pointer of a batch (leading dimensions are kept) or of one image.

        Args:
            gaze_hidden: [..., K, D] last hidden states at the gaze tokens.
            patch_hidden: [..., P, D] what stands for the patches; see `GazeVLM.patch_states`.

        Raises:
            ValueError: more patches than the keys have rows.
        """
        gaze_hidden, patch_hidden = gaze_hidden.float(), patch_hidden.float()
        keys = self._index_keys(patch_hidden) if self.by_index else self.key(patch_hidden)
        stop = self.stop_key.expand(*keys.shape[:-2], 1, -1)
        keys = torch.cat([keys, stop], dim=-2)
        if self.use_previous_patch:
            # projected before it is put beside the patches: a copy of all states would be D / d times as large
            start = self.previous(self.start).expand(*patch_hidden.shape[:-2], 1, -1)
            previous = torch.cat([self.previous(patch_hidden), start], dim=-2)
        else:
            previous = torch.zeros_like(keys)
        return PointerField(self.query(gaze_hidden), previous, keys, self.stops, self.repeats)

    def _index_keys(self, patch_hidden: torch.Tensor) -> torch.Tensor:
        patches, rows = patch_hidden.shape[-2], self.index_keys.num_embeddings
        if patches > rows:
            raise ValueError(f"a grid of {patches} patches is larger than the {rows} indices of this model's head")
        return self.index_keys.weight[:patches].expand(*patch_hidden.shape[:-2], -1, -1)

    def log_durations(self, gaze_hidden: torch.Tensor, fixated_hidden: torch.Tensor) -> torch.Tensor:
        """Return natural logarithms of the dwells in ms, [...], from gaze states and their patches' states, [..., D]
        each."""
        return self.dwell(torch.cat([gaze_hidden.float(), fixated_hidden.float()], dim=-1)).squeeze(-1)

    def offsets(self, gaze_hidden: torch.Tensor, fixated_hidden: torch.Tensor) -> torch.Tensor:
        """Return where in its patch each fixation lies, [..., 2], x and y in (0, 1), from states as in
        `log_durations`."""
        return self.offset(torch.cat([gaze_hidden.float(), fixated_hidden.float()], dim=-1)).sigmoid()

    def finding_logits(self, gaze_hidden: torch.Tensor, glimpses: Glimpses | None = None) -> torch.Tensor:
        """Return logits of the finding head, [..., F], of the mean of the [..., K, D] gaze states or, with glimpses, of
        what the gaze states say, pooled by attention (arXiv 1802.04712), and what the glimpses' tokens show beside it.

        What a token shows by itself is how far it is from the prior of `local_logits`: a log likelihood ratio, which
        is added to the log odds that the gaze states give. Pooled together, states that know the whole image would
        leave no share to tokens that know little, and no path would change a probability. The state at the token, which
        knows the small image too, says what that makes of it: a rib that was suspected and is whole speaks against a
        fracture, any other rib hardly does.
        """
        if glimpses is None:
            return self.finding(gaze_hidden.float().mean(dim=-2))
        said = (self._gaze_shares(gaze_hidden) * self.finding(gaze_hidden.float())).sum(dim=-2)
        shown = self._shown(glimpses)
        if self.compares:
            shown = shown + self.glimpse_finding(glimpses.hidden.float())
        return said + (self._glimpse_shares(glimpses)[..., 1:, :] * shown).sum(dim=-2)

    def finding_shares(self, gaze_hidden: torch.Tensor, glimpses: Glimpses) -> torch.Tensor:
        """Return how much each state counts for each finding, [..., K + G, F]; the shares of a finding sum to 1."""
        seen = self._glimpse_shares(glimpses)
        return torch.cat([seen[..., :1, :] * self._gaze_shares(gaze_hidden), seen[..., 1:, :]], dim=-2)

    def _gaze_shares(self, gaze_hidden: torch.Tensor) -> torch.Tensor:
        """Return how much each gaze state counts among them, [..., K, F]."""
        return self.finding_attention(gaze_hidden.float()).softmax(dim=-2)

    def _glimpse_shares(self, glimpses: Glimpses) -> torch.Tensor:
        """Return how much each token counts beside all gaze states, which stand first and show nothing, [..., 1 + G,
        F]."""
        scores = self._shown(glimpses)
        if self.compares:
            scores = scores + self.glimpse_attention(glimpses.hidden.float())
        scores = scores.masked_fill(~glimpses.mask[..., None], float("-inf"))
        return functional.pad(scores, (0, 0, 1, 0)).softmax(dim=-2)

    def _shown(self, glimpses: Glimpses) -> torch.Tensor:
        """Return what each token of glimpses shows by itself, [..., G, F], in nats beyond the prior."""
        return functional.linear(glimpses.tokens.float(), self.local.weight)

    def local_logits(self, glimpse_tokens: torch.Tensor) -> torch.Tensor:
        """Return logits of what lies in each glimpse, [..., F], from its [..., T, D] merged tokens of the vision tower
        alone: what the small image tells of the place cannot help. Of a patch of the small image, T is 1."""
        return self.local(glimpse_tokens.float()).logsumexp(dim=-2)

    def placed_logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return [..., F] logits of the findings with a usual place, from [..., F, D] image tokens pooled there."""
        return (self.placed.weight * pooled.float()).sum(dim=-1) + self.placed.bias


@torch.no_grad()
def grown_heads(heads: GazeHeads, before: GazeConfig, after: GazeConfig) -> GazeHeads:
    """Return new heads with the weights of others; rows of added findings begin at zero, new parts afresh.

    Args:
        heads: to take the weights from; findings with a usual place are left out.
        before: gaze configuration of `heads`.
        after: of the new ones.
    """
    grown = GazeHeads(heads.query.in_features, after)
    old, new = heads.state_dict(), grown.state_dict()
    for name, value in old.items():
        if name in new and name not in FINDING_ROWS and not name.startswith("placed."):
            new[name].copy_(value)
    rows = {name: row for row, name in enumerate(before.finding_names[: before.num_head_findings])}
    for name in FINDING_ROWS:
        if name in new and name in old:
            new[name].zero_()
            for row, finding in enumerate(after.finding_names[: after.num_head_findings]):
                if finding in rows:
                    new[name][row].copy_(old[name][rows[finding]])
                elif name == "local.bias":
                    new[name][row] = RARE
    return grown
