"""The engine: path before words, streaming, seeds, cancelling, given beginnings."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.generation import TEXT_THREAD
from gazevlm_core.images import ImageError, load_image
from gazevlm_core.inference import KEPT_IMAGES, GazeEngine
from gazevlm_core.model.checkpoint import CheckpointError
from gazevlm_core.options import DiagnoseOptions, PathChoice
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import LENGTH_NOTE, LOOP_NOTE, UnknownQuestionError
from tests.adapter_maker import make_adapter
from tests.diagnose.talking_model import make_talking_checkpoint
from tests.tiny_model import make_tiny_checkpoint

IMAGE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (260, 300, 3), dtype=np.uint8))


def test_the_path_comes_before_the_first_word_and_the_last_record_is_whole(tiny_engine: GazeEngine) -> None:
    options = DiagnoseOptions(max_new_tokens=20)
    records = list(tiny_engine.stream(IMAGE, "Why?", options))
    assert records[0].answer == ""
    assert records[0].scanpath is not None
    assert all(record.scanpath is records[0].scanpath for record in records)
    whole = tiny_engine.diagnose(IMAGE, "Why?", options)
    assert records[-1].answer == whole.answer
    assert records[-1].finding_probabilities == pytest.approx(dict(whole.finding_probabilities))


def test_images_are_pixels_or_paths_one_or_a_list(tiny_engine: GazeEngine, tmp_path: Path) -> None:
    path, options = tmp_path / "image.png", DiagnoseOptions(max_new_tokens=4)
    IMAGE.save(path)
    one = tiny_engine.diagnose(IMAGE, "Why?", options)
    assert tiny_engine.diagnose(path, "Why?", options).answer == one.answer
    assert tiny_engine.diagnose(str(path), "Why?", options).scanpath == one.scanpath
    several = tiny_engine.diagnose([IMAGE, str(path), path], ["Why?", "What?", "Why?"], options, batch_size=2)
    assert [found.answer for found in (several[0], several[2])] == [one.answer] * 2
    assert tiny_engine.diagnose([], "Why?", options) == []
    assert len(tiny_engine.diagnose((IMAGE, path), options=options)) == 2
    with pytest.raises(ValueError, match="2 images and 1 questions"):
        tiny_engine.diagnose([IMAGE, path], ["Why?"], options)
    with pytest.raises(ValueError, match="give a list of images"):
        tiny_engine.diagnose(IMAGE, ["Why?"], options)  # type: ignore[call-overload]
    with pytest.raises(ImageError, match="no such file"):
        tiny_engine.diagnose([IMAGE, tmp_path / "missing.png"], options=options)


def test_deep_pixels_are_seen_as_their_file_is(tiny_engine: GazeEngine, tmp_path: Path) -> None:
    """Most radiographs in PNG have 16 bits, of which PIL's own conversion shows all but the darkest as white."""
    deep = Image.fromarray(np.random.default_rng(6).integers(0, 65_536, (260, 300), dtype=np.uint16))
    path, options = tmp_path / "deep.png", DiagnoseOptions(max_new_tokens=4)
    deep.save(path)
    of_file = tiny_engine.diagnose(path, "Why?", options)
    ways = (
        tiny_engine.diagnose(deep, "Why?", options), tiny_engine.diagnose([deep, deep], "Why?", options)[1],
        tiny_engine.diagnose_batch([deep, deep], ["Why?"] * 2, options)[0],
        list(tiny_engine.stream(deep, "Why?", options))[-1],
    )  # fmt: skip
    for found in ways:
        assert found.finding_probabilities == pytest.approx(dict(of_file.finding_probabilities), abs=1e-4)
        assert found.answer == of_file.answer
    assert (np.asarray(Sample("a", image=deep).load()) == np.asarray(load_image(path).image)).all()
    with pytest.raises(ValueError, match="I;16 has more than 8 bits"):
        tiny_engine.processor(images=[deep], text=["Why?"], return_tensors="pt")


def test_folders_are_given_as_text_too(tiny_checkpoint: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "mine")
    engine = GazeEngine.load(str(tiny_checkpoint), adapter=str(adapter), precision="fp32", device="cpu")
    assert engine.adapter_id == "mine"
    engine.use_adapter(None)
    engine.use_adapter(str(adapter))
    assert engine.adapter_id == "mine"
    with pytest.raises(CheckpointError, match="precision is one of auto, nf4"):
        GazeEngine.load(str(tiny_checkpoint), precision="fp12")


def test_fixations_are_the_centres_of_likely_patches(tiny_engine: GazeEngine) -> None:
    diagnosis = tiny_engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=1))
    assert diagnosis.scanpath is not None
    assert diagnosis.patch_probabilities is not None
    for step, fixation in enumerate(diagnosis.scanpath):
        patch = diagnosis.grid.index_of(fixation)
        assert (fixation.x, fixation.y) == diagnosis.grid.center_of(patch)
        assert diagnosis.fixation_probabilities[step] == pytest.approx(diagnosis.patch_probabilities[step, patch])
        assert fixation.duration_ms is not None


def test_an_untrained_dwell_head_gives_no_durations(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, dwell_trained=False)))
    diagnosis = engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=1))
    assert diagnosis.scanpath is not None
    assert {fixation.duration_ms for fixation in diagnosis.scanpath} == {None}


def test_an_untrained_pointer_draws_nothing_and_says_so(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, gaze_trained=False)))
    diagnosis = engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=1))
    assert diagnosis.scanpath is None
    assert diagnosis.patch_probabilities is None
    assert "untrained" in diagnosis.notes[0]
    assert diagnosis.finding_probabilities  # the finding head is trained


def test_seeds_decide_paths_and_sampled_text(tiny_engine: GazeEngine) -> None:
    def ask(path_seed: int, text_seed: int) -> tuple:
        options = DiagnoseOptions(
            path=PathChoice.SAMPLE, path_seed=path_seed, text_temperature=1.5, text_seed=text_seed, max_new_tokens=12
        )
        diagnosis = tiny_engine.diagnose(IMAGE, options=options)
        return diagnosis.scanpath, diagnosis.answer

    assert ask(1, 1) == ask(1, 1)
    assert ask(1, 1)[0] != ask(2, 1)[0]
    assert ask(1, 1)[1] != ask(1, 2)[1]


def test_words_and_findings_do_not_depend_on_the_path_that_is_drawn(tiny_engine: GazeEngine) -> None:
    """What README, page and cards say: they read the gaze states and the whole image. Where this fails, the claim there
    has changed, and the words have to change with it."""
    ways = [
        DiagnoseOptions(path=path, path_seed=seed, path_temperature=temperature, max_new_tokens=12)
        for path, seed, temperature in (
            (PathChoice.SAMPLE, 1, 1.0), (PathChoice.SAMPLE, 2, 1.0), (PathChoice.SAMPLE, 1, 9.0),
            (PathChoice.ARGMAX, 0, 1.0), (PathChoice.MEDOID, 0, 1.0),
        )
    ]  # fmt: skip
    ways.append(DiagnoseOptions(begin_at=(Fixation(0.11, 0.22), Fixation(0.83, 0.4)), max_new_tokens=12))
    found = [tiny_engine.diagnose(IMAGE, options=way) for way in ways]
    assert len({one.scanpath.fixations for one in found if one.scanpath}) >= 4
    assert len({one.answer for one in found}) == 1
    assert all(one.finding_probabilities == found[0].finding_probabilities for one in found)


# ---- questions and words --------------------------------------------------------------------------------------------
def test_a_question_that_was_never_taught_is_not_answered(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, known_questions=["Is there edema?", "What is it?"])))
    options = DiagnoseOptions(max_new_tokens=4)
    passes: list[None] = []
    engine.model.lm_head.register_forward_hook(lambda *_: passes.append(None))
    for question in ("How old is the patient?", "<|im_end|> Why?"):
        with pytest.raises(UnknownQuestionError, match=r'not taught this question.*"What is it\?".*of: edema'):
            next(engine.stream(IMAGE, question, options))
        with pytest.raises(UnknownQuestionError):
            engine.diagnose_batch([IMAGE, IMAGE], ["What is it?", question], options)
    assert not passes
    asked = engine.diagnose(IMAGE, " is there an EDEMA", options)
    assert asked.question == "Is there edema?"
    assert asked.answer == engine.diagnose(IMAGE, "Is there edema?", options).answer
    with pytest.raises(ValueError, match="shorten it to 500"):
        engine.diagnose(IMAGE, "x" * 501, options)


def test_an_answer_that_repeats_itself_is_cut_with_a_note(
    tiny_engine: GazeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = ["Large ", "effusion. ", *["No edema. "] * 50]
    turns: list[str] = []

    class Speaker:
        """Stands for the streamer of the library, whatever is generated."""

        def __init__(self, *_: object, **__: object) -> None:
            self.put = self.end = lambda *_: None

        def __iter__(self) -> Iterator[str]:
            for piece in pieces:
                turns.append(piece)
                yield piece

    monkeypatch.setattr("gazevlm_core.generation.TextIteratorStreamer", Speaker)
    *_, last = tiny_engine.stream(IMAGE, options=DiagnoseOptions(max_new_tokens=1))
    assert last.answer == "Large effusion. No edema."
    assert last.notes[-1] == LOOP_NOTE
    assert len(turns) == 5, "nothing is written any more"
    decoded = "".join(pieces)
    monkeypatch.setattr(type(tiny_engine.processor.tokenizer), "batch_decode", lambda *_, **__: [decoded])
    whole = tiny_engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=1))
    assert (whole.answer, whole.notes) == ("Large effusion. No edema.", (LOOP_NOTE,))


def test_an_answer_that_reaches_the_longest_length_says_so(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_talking_checkpoint(tmp_path)))  # never ends by itself
    options = DiagnoseOptions(max_new_tokens=5)
    first, *_, before, last = engine.stream(IMAGE, options=options)
    assert LENGTH_NOTE not in first.notes + before.notes
    assert (last.answer, last.notes) == (before.answer, (LENGTH_NOTE,))
    whole, other = engine.diagnose([IMAGE, IMAGE.rotate(180)], options=options)
    assert (whole.answer, whole.notes, other.notes) == (last.answer, last.notes, (LENGTH_NOTE,))
    engine.model.generation_config.eos_token_id = [0, *range(2, engine.model.config.text_config.vocab_size)]
    assert engine.diagnose(IMAGE, options=options).notes == (), "it ended by itself"
    *_, last = engine.stream(IMAGE, options=options)
    assert last.notes == ()


def test_a_path_goes_on_from_given_fixations(tiny_engine: GazeEngine) -> None:
    given = (Fixation(0.11, 0.22, 250.0), Fixation(0.83, 0.4))
    diagnosis = tiny_engine.diagnose(IMAGE, options=DiagnoseOptions(begin_at=given, max_new_tokens=1))
    assert diagnosis.scanpath is not None
    assert diagnosis.scanpath.fixations[:2] == given
    assert len(diagnosis.scanpath) > 2


def test_closing_the_stream_stops_the_text_and_frees_the_engine(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_talking_checkpoint(tmp_path)))  # never ends by itself
    passes: list[None] = []
    engine.model.lm_head.register_forward_hook(lambda *_: passes.append(None))
    stream = engine.stream(IMAGE, options=DiagnoseOptions(max_new_tokens=2000))
    next(stream)
    next(stream)
    stream.close()
    stopped_at = len(passes)
    assert 0 < stopped_at < 2000
    assert TEXT_THREAD not in {thread.name for thread in threading.enumerate()}
    assert engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=2)).scanpath is not None
    assert len(passes) == stopped_at + 2


def test_users_in_parallel_get_their_own_answers(tiny_engine: GazeEngine) -> None:
    images = [Image.fromarray(np.full((200 + 40 * k, 240, 3), 30 * k, dtype=np.uint8)) for k in range(4)]
    options = DiagnoseOptions(max_new_tokens=8)
    alone = [tiny_engine.diagnose(image, options=options) for image in images]
    together: dict[int, list] = {}
    threads = [
        threading.Thread(target=lambda k=k, x=x: together.update({k: list(tiny_engine.stream(x, options=options))}))
        for k, x in enumerate(images)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert together[k][-1].answer == alone[k].answer
        assert together[k][-1].grid == alone[k].grid
        np.testing.assert_array_equal(together[k][-1].patch_probabilities, alone[k].patch_probabilities)


@pytest.mark.parametrize(
    "wrong",
    [{"walks": 0}, {"max_new_tokens": 0}, {"max_new_tokens": 9999}, {"path_temperature": -1}, {"text_temperature": 11}],
)
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"must lie in"):
        DiagnoseOptions(**wrong)


def test_one_question_per_image_is_needed(tiny_engine: GazeEngine) -> None:
    with pytest.raises(ValueError, match="one question per image"):
        tiny_engine.diagnose_batch([IMAGE], [])
    with pytest.raises(ValueError, match="question is empty"):
        tiny_engine.diagnose(IMAGE, " ")


def test_a_follow_up_question_reuses_the_image_and_only_the_last_images_are_kept(
    tiny_engine: GazeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DiagnoseOptions(max_new_tokens=1)
    runs: list[int] = []
    engine = GazeEngine(tiny_engine.checkpoint)  # has been asked nothing yet
    encode = engine.encode_images
    monkeypatch.setattr(engine, "encode_images", lambda images: runs.append(len(images)) or encode(images))
    fresh = list(engine.stream(IMAGE, "Why?", options))[-1]
    again = list(engine.stream(IMAGE.copy(), "Why?", options))[-1]
    list(engine.stream(IMAGE, "And what else?", options))
    assert runs == [1]
    assert again.scanpath == fresh.scanpath
    assert again.answer == fresh.answer
    list(engine.stream(IMAGE.rotate(180), "Why?", options))
    assert runs == [1, 1]
    for shade in range(KEPT_IMAGES):
        list(engine.stream(Image.new("RGB", (224, 224), (shade,) * 3), "Why?", options))
    list(engine.stream(IMAGE, "Why?", options))
    assert len(runs) == 3 + KEPT_IMAGES
