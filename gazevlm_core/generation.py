"""Generate the words after a pass: as they come, or all at once."""

import threading
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.outputs import PrefillOutput
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.records import Sentence
from gazevlm_core.words import LENGTH_NOTE, LOOP_NOTE, cut_loop, sentence_spans

TEXT_THREAD = "gazevlm-text"


class Words(NamedTuple):
    """An answer so far, and what the user must know of where it ends."""

    text: str
    notes: tuple[str, ...] = ()


class _Cancelled(StoppingCriteria):
    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


def stream_text(
    model: GazeVLM, processor: GazeVLMProcessor, prefilled: PrefillOutput, options: DiagnoseOptions
) -> Generator[Words, None, None]:
    """Yield the growing answer after a pass, which is used up; a text that repeats itself ends. Closing the iterator
    stops the generation."""
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    cancelled = _Cancelled()
    failures: list[BaseException] = []
    ended: list[bool] = []

    def generate() -> None:
        try:
            ids = generate_text(model, prefilled, options, streamer=streamer, cancelled=cancelled)
            ended.extend(_ended(model, ids))
        except BaseException as error:  # carried to the caller's thread below
            failures.append(error)
            streamer.end()

    worker = threading.Thread(target=generate, name=TEXT_THREAD, daemon=True)
    worker.start()
    answer = ""
    try:
        for piece in streamer:
            if not piece:
                continue
            answer += piece
            words = words_of(answer)
            yield words
            if words.notes:
                return
    finally:
        cancelled.event.set()
        worker.join()
    if failures:
        raise failures[0]
    if not all(ended):
        yield words_of(answer, ended=False)


def answers(
    model: GazeVLM, processor: GazeVLMProcessor, prefilled: PrefillOutput, options: DiagnoseOptions
) -> list[Words]:
    """Return the answers after a pass, which is used up."""
    ids = generate_text(model, prefilled, options)
    texts = processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [words_of(text, ended=ended) for text, ended in zip(texts, _ended(model, ids), strict=True)]


def words_of(text: str, *, ended: bool = True) -> Words:
    """Return an answer with a note where it is cut short: one that repeats itself where it begins to.

    Args:
        text: as it was generated, so far.
        ended: whether the model ended it, or has not yet; False where it reached the longest answer.
    """
    text = text.strip()
    kept = cut_loop(text)
    if kept != text:
        return Words(kept, (LOOP_NOTE,))
    return Words(text, () if ended else (LENGTH_NOTE,))


def _ended(model: GazeVLM, ids: torch.Tensor) -> list[bool]:
    """Return whether the model itself ended each answer: whether there is an end token in int64 [B, T]."""
    own = model.generation_config.eos_token_id
    ends = torch.tensor([] if own is None else own, dtype=ids.dtype, device=ids.device).reshape(-1)
    return torch.isin(ids, ends).any(dim=1).tolist()


def generate_text(
    model: GazeVLM,
    prefilled: PrefillOutput,
    options: DiagnoseOptions,
    *,
    streamer: TextIteratorStreamer | None = None,
    cancelled: _Cancelled | None = None,
) -> torch.Tensor:
    """Return the answers after a pass, which is used up, as int64 [B, T] of new tokens."""
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if options.text_temperature > 0:
        sampling = {"do_sample": True, "temperature": options.text_temperature, "top_p": 1.0, "top_k": 0}
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(options.text_seed)
        return model.continue_text(
            prefilled,
            max_new_tokens=options.max_new_tokens,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([cancelled] if cancelled else []),
            repetition_penalty=1.0,
            **sampling,
        )


def sentence_shares(
    model: GazeVLM, processor: GazeVLMProcessor, prefilled: PrefillOutput, answers: Sequence[str]
) -> list[tuple[Sentence, ...]]:
    """Return the sentences of answers, each with the attention of its tokens to every glimpse; none without glimpses.

    Args:
        prefilled: with its glimpses; its cache may hold the answers.
        answers: of its rows.
    """
    if prefilled.glimpse_hidden is None or not any(answers):
        return [()] * len(answers)
    tokens = processor.tokenizer(
        list(answers), add_special_tokens=False, return_offsets_mapping=True, padding=True, padding_side="right",
        return_tensors="pt",
    )  # fmt: skip
    attention = model.attention_to_glimpses(prefilled, tokens["input_ids"]).cpu()
    found = []
    for row, answer in enumerate(answers):
        ends = tokens["offset_mapping"][row, :, 1] * tokens["attention_mask"][row]
        sentences = []
        for first, last in sentence_spans(answer):
            mean = attention[row, (ends > first) & (ends <= last)].mean(dim=0)
            sentences.append(Sentence(answer[first:last], tuple(mean.tolist())))
        found.append(tuple(sentences))
    return found
