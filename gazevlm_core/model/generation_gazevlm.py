"""What a GazeVLM does for an answer: one pass, its paths, the glimpses along them, and the words.

    prefilled = model.prefill(**prompts, image_tokens=tokens)
    paths = model.predict_paths(prefilled, DiagnoseOptions())
    seen = model.see_glimpses(prefilled, paths, images, processor.glimpse_pixels)
    ids = model.continue_text(seen, max_new_tokens=128)

`generate` does all of it on what the processor returns, so the library's own ways answer as the engine does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from transformers import DynamicCache, GenerationMixin, PreTrainedModel, Qwen2VLImageProcessorPil

from gazevlm_core.geometry import Window
from gazevlm_core.model.glimpses import (
    crop_glimpse,
    glimpse_columns,
    glimpse_counts,
    glimpse_ids,
    glimpse_states,
    pad_windows,
    small_image_mask,
    windows_of,
)
from gazevlm_core.model.outputs import CACHE, KEPT_GLIMPSES, PrefillOutput
from gazevlm_core.model.path_sampling import MERGED_NOTE, DecodedPath, choose_paths, decode_path, follow, given_steps
from gazevlm_core.model.places import pooled_tokens
from gazevlm_core.model.pointer import PointerField
from gazevlm_core.options import DiagnoseOptions

MEASURED_TOKENS = 128  # of an answer at once, so that the memory of its attention is bounded


class GazeGeneration(PreTrainedModel, GenerationMixin):
    """Paths, glimpses and words of a `GazeVLM`."""

    @torch.no_grad()
    def prefill(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor,
        image_tokens: tuple[torch.Tensor, ...],
    ) -> PrefillOutput:
        """Return one pass of the backbone over left-padded prompts; see `PrefillOutput`.

        Args:
            input_ids: int64 [B, L], ending with K gaze tokens (or none, for a model without trained gaze).
            attention_mask: int64 [B, L].
            mm_token_type_ids: int64 [B, L], 1 at image tokens.
            image_grid_thw: int64 [B, 3], as the processor gives it.
            image_tokens: from `encode_images`, one per row.
        """
        grids = self.grids(image_grid_thw)
        position_ids = self.positions(input_ids, attention_mask, mm_token_type_ids, image_grid_thw)
        cache = DynamicCache(config=self.config.text_config)
        hidden = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **{CACHE: cache},
            use_cache=True, mm_encoder_outputs={"image": self.image_features(image_tokens)},
        ).last_hidden_state  # fmt: skip
        return PrefillOutput(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            gaze_hidden=self.gaze_states(hidden, input_ids),
            patch_hidden=self.patch_states(hidden, input_ids == self.config.image_token_id, grids, image_tokens),
            image_tokens=tuple(self.merged_tokens(tokens) for tokens in image_tokens),
            grids=tuple(grids),
        )

    def predict_paths(
        self, prefilled: PrefillOutput, options: DiagnoseOptions, rows: Sequence[int] | None = None
    ) -> dict[int, DecodedPath]:
        """Return row of a pass -> its path, the model's own or as the options have it; nothing where the gaze is
        untrained.

        Args:
            prefilled: from `prefill`.
            options: which path.
            rows: that a path is wanted of; None for all.

        Raises:
            ValueError: more places are given than a path has steps.
        """
        config = self.config.gaze_config
        wanted = list(range(len(prefilled.input_ids)) if rows is None else rows)
        if prefilled.gaze_hidden is None or not config.gaze_trained or not wanted:
            return {}
        fields = [self.pointer_field(prefilled, row) for row in wanted]
        given = [given_steps(options.places, prefilled.grids[row], config) for row in wanted]
        firsts = [
            [prefilled.grids[row].index_of(fixation) for fixation in steps]
            for row, steps in zip(wanted, given, strict=True)
        ]
        if options.look_at:
            chosen = [follow(field, patches) for field, patches in zip(fields, firsts, strict=True)]
        else:
            chosen = choose_paths(
                fields, options.path, num_paths=options.walks, temperature=options.path_temperature,
                seed=options.path_seed, given=firsts,
            )  # fmt: skip
        found = {}
        for row, path, steps in zip(wanted, chosen, given, strict=True):
            states = (prefilled.gaze_hidden[row], prefilled.patch_hidden[row])
            found[row] = decode_path(self.gaze_heads, config, states, path, prefilled.grids[row], steps)
            if len(steps) < len(options.places):
                note = MERGED_NOTE.format(places=len(options.places), steps=len(steps))
                found[row] = found[row]._replace(notes=(note, *found[row].notes))
        return found

    @torch.no_grad()
    def see_glimpses(
        self,
        prefilled: PrefillOutput,
        paths: Mapping[int, DecodedPath],
        images: Sequence[Image.Image],
        pixels_of: Callable[[list[Image.Image]], torch.Tensor],
        kept: Sequence[dict[Window, torch.Tensor]] | None = None,
    ) -> PrefillOutput:
        """Cut the glimpses of every row's path and show them behind its gaze tokens; the pass is used up.

        Args:
            prefilled: from `prefill`.
            paths: of every row, from `predict_paths`.
            images: that the glimpses are cut from, from `fine_image`.
            pixels_of: makes pixel values of glimpses, as the image processor does.
            kept: what the vision tower made of windows of each row's image before; what is new is added.
        """
        config, vision = self.config.gaze_config, self.config.vision_config
        side_px = config.glimpse_side * vision.patch_size * vision.spatial_merge_size
        windows = [windows_of(paths[row].glimpsed_places, grid, config) for row, grid in enumerate(prefilled.grids)]
        known = [{} for _ in windows] if kept is None else kept
        for own in known:
            if len(own) > KEPT_GLIMPSES:
                own.clear()
        new = [(row, window) for row, own in enumerate(windows) for window in own if window not in known[row]]
        if new:
            pixels = pixels_of([crop_glimpse(images[row], window, side_px) for row, window in new])
            for (row, window), tokens in zip(
                new, self.encode_glimpses(pixels.to(prefilled.input_ids.device)), strict=True
            ):
                known[row][window] = tokens
        glimpses = [known[row][window] for row, own in enumerate(windows) for window in own]
        return self.add_glimpses(prefilled, torch.stack(glimpses), pad_windows(windows))

    @torch.no_grad()
    def add_glimpses(
        self, prefilled: PrefillOutput, glimpse_tokens: torch.Tensor, windows: torch.Tensor
    ) -> PrefillOutput:
        """Show glimpses behind the gaze tokens of a pass, whose cache grows; one more pass, over their tokens alone.

        Args:
            prefilled: from `prefill`, used up.
            glimpse_tokens: [N, T, W] of all rows' glimpses in order, from `encode_glimpses`.
            windows: float [B, M, 4], where they were cut, NaN where a row has fewer than M.
        """
        device, config = prefilled.input_ids.device, self.config
        shown, exists = (one.to(device) for one in glimpse_ids(config, glimpse_counts(windows)))
        input_ids = torch.cat([prefilled.input_ids, shown], dim=1)
        attention_mask = torch.cat([prefilled.attention_mask, exists.to(prefilled.attention_mask)], dim=1)
        is_image = (input_ids == config.image_token_id) & attention_mask.bool()
        is_small = small_image_mask(is_image, prefilled.grids)
        merge = config.vision_config.spatial_merge_size
        thw = torch.tensor([[1, grid.rows * merge, grid.cols * merge] for grid in prefilled.grids], device=device)
        position_ids = self._all_positions(
            input_ids, attention_mask, is_image.long(), thw, windows.to(device), is_small
        )
        before = prefilled.input_ids.shape[1]
        hidden = self.model(
            input_ids=shown,
            attention_mask=attention_mask,
            position_ids=position_ids[..., before:],
            use_cache=True,
            **{CACHE: prefilled.cache},
            mm_encoder_outputs={"image": self.image_features(tuple(glimpse_tokens))},
        ).last_hidden_state
        seen = glimpse_states(hidden, is_image[:, before:], self.merged_tokens(glimpse_tokens))
        return replace(
            prefilled, input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            glimpse_hidden=seen.hidden, glimpse_mask=seen.mask, glimpse_tokens=seen.tokens,
        )  # fmt: skip

    @torch.no_grad()
    def finding_logits(self, prefilled: PrefillOutput) -> torch.Tensor:
        """Return logits of all findings of every image of a pass, float32 [B, F], in the order of the configuration's
        names.

        F may be 0.

        Raises:
            ValueError: the pass held no gaze tokens, or no glimpses, and the finding head needs them.
        """
        gaze = self.config.gaze_config
        if gaze.num_prompt_glimpses and prefilled.glimpse_hidden is None:
            raise ValueError("the pass has no glimpses yet, which the finding head needs; see add_glimpses")
        logits = [torch.zeros(len(prefilled.input_ids), 0, device=prefilled.input_ids.device)]
        if gaze.num_head_findings:
            if prefilled.gaze_hidden is None:
                raise ValueError("the prompt held no gaze tokens, which the finding head needs")
            logits.append(self.gaze_heads.finding_logits(prefilled.gaze_hidden, prefilled.glimpses))
        if gaze.usual_places:
            pooled = [
                pooled_tokens(tokens, grid, gaze.usual_places)
                for tokens, grid in zip(prefilled.image_tokens, prefilled.grids, strict=True)
            ]
            logits.append(self.gaze_heads.placed_logits(torch.stack(pooled)))
        return torch.cat(logits, dim=-1)

    @torch.no_grad()
    def pointer_field(self, prefilled: PrefillOutput, row: int) -> PointerField:
        """Return the pointer of one image of a pass.

        Raises:
            ValueError: the pass held no gaze tokens.
        """
        if prefilled.gaze_hidden is None:
            raise ValueError("the prompt held no gaze tokens, so there is nothing to point with")
        return self.gaze_heads.fields(prefilled.gaze_hidden[row], prefilled.patch_hidden[row])

    def continue_text(self, prefilled: PrefillOutput, **generation: Any) -> torch.Tensor:
        """Generate the answers after a pass, from its own cache (which is used up).

        `generate` wants at least one position that is not cached, so the last one is dropped and fed again.

        Args:
            generation: any argument of `generate`, e.g. max_new_tokens, streamer, do_sample.

        Returns:
            int64 [B, T], the new tokens alone.
        """
        prefilled.cache.crop(-1)
        ids = super().generate(
            input_ids=prefilled.input_ids,
            attention_mask=prefilled.attention_mask,
            position_ids=prefilled.position_ids,
            **{CACHE: prefilled.cache},
            **generation,
        )
        return ids[:, prefilled.input_ids.shape[1] :]

    def generate(  # what else there is goes to the library's
        self,
        inputs: torch.Tensor | None = None,
        *args: Any,
        fine_images: torch.Tensor | None = None,
        fine_sizes: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:  # noqa: ANN401 (as the library's)
        """Generate as the library does; a model with glimpses first predicts its path, by the defaults of
        `DiagnoseOptions`, and sees the glimpses along it. They are no part of what is returned.

        Args:
            inputs: token ids, also as `input_ids`.
            fine_images: uint8 [B, H, W, 3], what glimpses are cut from, from the processor.
            fine_sizes: int64 [B, 2], height and width of each of them.

        Raises:
            ValueError: what a model with glimpses needs is missing.
        """
        if not self.config.gaze_config.num_prompt_glimpses or kwargs.get("pixel_values") is None:
            return super().generate(inputs, *args, **kwargs)
        own, several = kwargs.get("generation_config") or self.generation_config, ("num_beams", "num_return_sequences")
        if any((kwargs.get(name) or getattr(own, name, None) or 1) > 1 for name in several):
            raise ValueError("a model with glimpses gives one answer to a prompt, without beams; repeat the prompt")
        prompts = {"input_ids": kwargs.pop("input_ids", inputs)}
        names = ("attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
        prompts |= {name: kwargs.pop(name, None) for name in names}
        seen = self._seen(prompts, fine_images, fine_sizes)
        before, asked = seen.input_ids.shape[1], prompts["input_ids"]
        seen.cache.crop(-1)
        found = super().generate(
            input_ids=seen.input_ids, attention_mask=seen.attention_mask, position_ids=seen.position_ids,
            **{CACHE: seen.cache}, **kwargs,
        )  # fmt: skip
        if isinstance(found, torch.Tensor):
            return torch.cat([asked, found[:, before:]], dim=1)
        found.sequences = torch.cat([asked, found.sequences[:, before:]], dim=1)
        return found

    def _seen(
        self, prompts: Mapping[str, torch.Tensor], fine_images: torch.Tensor | None, fine_sizes: torch.Tensor | None
    ) -> PrefillOutput:
        """Return a pass over the processor's prompts, with its glimpses; errors as in `generate`."""
        ids, pixels, thw = prompts["input_ids"], prompts["pixel_values"], prompts["image_grid_thw"]
        if fine_images is None or fine_sizes is None or thw is None or prompts["mm_token_type_ids"] is None:
            raise ValueError(
                "a model with glimpses needs all that its processor returns (fine_images, fine_sizes, "
                "mm_token_type_ids): load the processor from the model's folder, or set processor.gaze_config = "
                "model.config.gaze_config"
            )
        steps = self.config.gaze_config.num_prompt_tokens
        if len(thw) != len(ids) or not ids[:, -steps:].eq(self.config.gaze_token_id).all():
            raise ValueError(
                "a prompt of a model with glimpses holds one image and ends with its gaze tokens: it cannot go on with "
                "an answer that was begun"
            )
        mask = torch.ones_like(ids) if prompts["attention_mask"] is None else prompts["attention_mask"]
        with torch.no_grad():
            tokens = self.encode_images(pixels, thw)
        prefilled = self.prefill(ids, mask, prompts["mm_token_type_ids"], thw, tokens)
        fine = [
            Image.fromarray(image[:height, :width].cpu().numpy())
            for image, (height, width) in zip(fine_images, fine_sizes.tolist(), strict=True)
        ]
        processor = Qwen2VLImageProcessorPil(**self.preprocessing)
        return self.see_glimpses(
            prefilled, self.predict_paths(prefilled, DiagnoseOptions()), fine,
            lambda cuts: processor(images=cuts, do_resize=False, return_tensors="pt")["pixel_values"],
        )  # fmt: skip

    @torch.no_grad()
    def attention_to_glimpses(self, prefilled: PrefillOutput, answer_ids: torch.Tensor) -> torch.Tensor:
        """Return the attention with which each token of an answer was chosen, to each glimpse: float32 [B, T, M], the
        mean of all layers and heads; what is missing to 1 went elsewhere.

        One more pass over the answers alone, in eager attention, from the cache of the prompts.

        Args:
            prefilled: with its glimpses; its cache may hold answers, and holds these afterwards.
            answer_ids: int64 [B, T], padded on the right; what is said of the padding means nothing.
        """
        before, device = prefilled.input_ids.shape[1], prefilled.input_ids.device
        prefilled.cache.crop(before - 1 - prefilled.cache.get_seq_length())
        is_image = (prefilled.input_ids == self.config.image_token_id) & prefilled.attention_mask.bool()
        is_glimpse = is_image & ~small_image_mask(is_image, prefilled.grids)
        columns = glimpse_columns(is_glimpse, self.config.gaze_config.glimpse_side**2)
        ids = torch.cat([prefilled.input_ids[:, -1:], answer_ids[:, :-1].to(device)], dim=1)  # each token's query
        positions = prefilled.position_ids[..., -1:] + torch.arange(ids.shape[1], device=device)
        mask = torch.cat([prefilled.attention_mask[:, :-1], torch.ones_like(ids)], dim=1)
        found = []
        for first in range(0, ids.shape[1], MEASURED_TOKENS):
            last = min(first + MEASURED_TOKENS, ids.shape[1])
            with self._measured_attention(columns) as means:
                self.model(
                    input_ids=ids[:, first:last], attention_mask=mask[:, : before - 1 + last],
                    position_ids=positions[..., first:last], use_cache=True, **{CACHE: prefilled.cache},
                )  # fmt: skip
            found.append(torch.stack(means).mean(dim=0))
        return torch.cat(found, dim=1)

    @contextmanager
    def _measured_attention(self, columns: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        """A list that gets each layer's attention to some groups of the first positions, [B, T, M], mean of its heads.

        Args:
            columns: float [B, L, M], 1 where a position belongs to a group.
        """
        means: list[torch.Tensor] = []

        def measure(_: torch.nn.Module, __: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:  # noqa: ANN401
            weights = output[1].mean(dim=1).float()
            means.append(weights[..., : columns.shape[1]] @ columns)

        decoder = self.get_decoder()
        hooks = [layer.self_attn.register_forward_hook(measure) for layer in decoder.layers]
        implementation = decoder.config._attn_implementation
        decoder.config._attn_implementation = "eager"  # the others keep no scores
        try:
            yield means
        finally:
            decoder.config._attn_implementation = implementation
            for hook in hooks:
                hook.remove()
