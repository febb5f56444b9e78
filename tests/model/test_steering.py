"""A path that people give, or begin: what follows from it, what is computed again, and the library's own ways."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

from diagnose.tab.form import Asking, how_of
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model import generation_gazevlm
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import interleave
from gazevlm_core.model.path_sampling import MERGED_NOTE, UNFOLLOWED_NOTE, UNSEEN_NOTE, ChosenPath, decode_path
from gazevlm_core.model.pointer import GazeHeads
from gazevlm_core.options import Attention, DiagnoseOptions
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import LENGTH_NOTE
from tests.diagnose.talking_model import let_talk
from tests.tiny_model import make_tiny_backbone

QUESTIONS = ["Is there pneumothorax?", "Describe the findings on this chest radiograph."]
GLIMPSED = {"num_glimpses": 3, "repeats": False, "use_offsets": True, "num_gaze_tokens": 6}
TWELVE = DiagnoseOptions(max_new_tokens=12)
CUT = (LENGTH_NOTE,)  # such a model never ends by itself
HERE, THERE = [(0.1, 0.1), (0.2, 0.3)], [(0.9, 0.9), (0.8, 0.6), (0.4, 0.9)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


IMAGES = [noise(500, 460), noise(300, 420, 1)]


@pytest.fixture(scope="module", params=BACKBONES, ids=lambda backbone: backbone.family)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return let_talk(make_tiny_backbone(tmp_path_factory.mktemp("steered"), request.param, **GLIMPSED))


@pytest.fixture(scope="module")
def engine(folder: Path) -> GazeEngine:
    return GazeEngine.load(str(folder), attn=Attention.SDPA, device="cpu")


# ---- given places ---------------------------------------------------------------------------------------------------
def test_places_are_the_path_or_its_beginning(engine: GazeEngine) -> None:
    whole = engine.diagnose(IMAGES[0], look_at=HERE, options=TWELVE)
    assert [(fixation.x, fixation.y) for fixation in whole.scanpath] == HERE
    begun = engine.diagnose(IMAGES[0], begin_at=HERE, options=TWELVE)
    assert [(fixation.x, fixation.y) for fixation in begun.scanpath][:2] == HERE
    assert len(begun.scanpath) > 2
    assert {glimpse.step for glimpse in begun.glimpses} >= {0, 1}, "what was given is seen"
    assert whole.notes == begun.notes == CUT
    several = engine.diagnose(IMAGES, QUESTIONS, TWELVE, look_at=HERE)
    assert several[0].scanpath == several[1].scanpath == whole.scanpath
    streamed = list(engine.stream(IMAGES[0], options=DiagnoseOptions(
        look_at=tuple(Fixation(*place) for place in HERE), max_new_tokens=12,
    )))  # fmt: skip
    assert streamed[-1].to_dict() == whole.to_dict()
    assert streamed[0].sentences == ()


@pytest.mark.parametrize("begun", [False, True], ids=["whole", "beginning"])
def test_places_that_cannot_all_be_steps_or_glimpses_are_told_or_refused(engine: GazeEngine, begun: bool) -> None:
    def ask(*places: tuple[float, float]) -> tuple[str, ...]:
        given = {"begin_at" if begun else "look_at": places}
        return engine.diagnose([noise(400, 400), noise(300, 420)], QUESTIONS, TWELVE, **given)[0].notes

    close = MERGED_NOTE.format(places=3, steps=2)
    assert ask((0.1, 0.1), (0.11, 0.11), (0.9, 0.9)) == (close, *CUT)
    corners = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    assert ask(*corners) == (UNSEEN_NOTE.format(seen=3), *CUT)
    assert ask(*corners, *corners[:2]) == (UNSEEN_NOTE.format(seen=3), *CUT), "six steps, four patches, three glimpses"
    with pytest.raises(ValueError, match="7 places are more than the 6 steps of this model's path; give at most 6"):
        ask(*corners, *corners[:3])
    with pytest.raises(ValueError, match="place 2 must be two numbers"):
        ask((0.1, 0.1), (0.2, 1.0))


def test_places_with_a_dwell_weigh_by_it_and_those_without_are_seen_first(engine: GazeEngine) -> None:
    """As when one fixation of a path is moved by hand: it is seen, and of the others what the dwell says, as before."""
    places = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.5, 0.5)]
    known = [Fixation(x, y, dwell) for (x, y), dwell in zip(places, (200.0, 900.0, 100.0, 800.0, 700.0), strict=True)]

    def seen(path: list[Fixation]) -> tuple[set[int], tuple[str, ...]]:
        record = engine.diagnose(IMAGES[0], look_at=path, options=TWELVE)
        return {glimpse.step for glimpse in record.glimpses}, record.notes

    assert seen(known) == ({1, 3, 4}, CUT), "no note: none of them was asked for"
    moved = [*known[:2], Fixation(0.7, 0.9), *known[3:]]
    assert seen(moved) == ({1, 2, 3}, CUT)
    record = engine.diagnose(IMAGES[0], look_at=moved, options=TWELVE)
    assert [fixation.duration_ms for fixation in record.scanpath] == [200.0, 900.0, None, 800.0, 700.0]
    look_at = how_of(Asking("What?"), None, record.scanpath)["look_at"]
    again = engine.diagnose(IMAGES[0], look_at=json.loads(json.dumps(look_at)), options=TWELVE)
    assert again.to_dict() == record.to_dict(), "what a download says gives the answer again"


def test_dwells_are_not_compared_with_probabilities() -> None:
    """A model that tells no dwell goes on from a path with dwells: by milliseconds only the given steps were seen."""
    config = GazeConfig(num_gaze_tokens=4, num_glimpses=2, gaze_trained=True, pointer_dim=2)
    path = ChosenPath((0, 1, 2, 3), np.zeros((4, 4), np.float32), (0.2, 0.3, 0.9, 0.8), 1.0)
    states = (torch.zeros(4, 4), torch.zeros(4, 4))
    given = [Fixation(0.2, 0.2, 400.0), Fixation(0.7, 0.2, 300.0)]
    grid = PatchGrid(2, 2)
    heads = GazeHeads(4, config)
    assert decode_path(heads, config, states, path, grid, given).glimpsed == (2, 3)
    whole = [*given, Fixation(0.2, 0.7, 200.0), Fixation(0.7, 0.7, 100.0)]
    assert decode_path(heads, config, states, path, grid, whole).glimpsed == (0, 1), "all of them have one"
    asked = [given[0], Fixation(0.7, 0.2)]
    assert decode_path(heads, config, states, path, grid, asked).glimpsed == (1, 2), "one that was asked for is seen"


def test_a_model_without_glimpses_says_that_its_answer_does_not_follow(tmp_path: Path) -> None:
    for name, marks in (("sees", {}), ("blind", {"gaze_trained": False})):
        blind = GazeEngine.load(str(let_talk(make_tiny_backbone(tmp_path / name, BACKBONES[0], **marks))), device="cpu")
        given, own = (blind.diagnose(IMAGES[0], options=TWELVE, **way) for way in ({"look_at": HERE}, {}))
        assert (given.answer, given.finding_probabilities) == (own.answer, own.finding_probabilities)
        assert (given.glimpses, given.evidence, given.sentences) == ((), {}, ())
        assert given.notes[-2] == (UNFOLLOWED_NOTE if name == "sees" else own.notes[-2])
        assert "no scanpath is shown or followed" in given.notes[-2] or given.scanpath is not None


# ---- sentences ------------------------------------------------------------------------------------------------------
def test_sentences_have_the_attention_that_wrote_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of one pass over everything, whose layers keep their scores."""
    engine = GazeEngine.load(str(folder), attn=Attention.EAGER, device="cpu")
    model, encoded = engine.model, engine.encode_images(IMAGES)
    prefilled = engine.prefill(encoded, QUESTIONS)
    given = [DiagnoseOptions(look_at=tuple(Fixation(*place) for place in places)) for places in (HERE, THERE)]
    paths = {row: engine.model.predict_paths(prefilled, given[row], [row])[row] for row in (0, 1)}
    kept: list[torch.Tensor] = []
    encode = model.encode_glimpses
    monkeypatch.setattr(model, "encode_glimpses", lambda pixels: kept.append(encode(pixels)) or kept[-1])
    seen = engine.glimpse(prefilled, encoded, paths)
    said = torch.tensor([[105, 109, 140, 131, 107], [108, 102, 111, 103, 160]])
    length = seen.input_ids.shape[1]
    positions = [seen.position_ids, seen.position_ids[..., -1:] + torch.arange(1, 6)]
    with torch.no_grad():
        tokens = interleave([image.tokens for image in encoded], kept[0], [2, 3])
        whole = model.model(
            input_ids=torch.cat([seen.input_ids, said], dim=1), position_ids=torch.cat(positions, dim=-1),
            attention_mask=torch.cat([seen.attention_mask, torch.ones_like(said)], dim=1), output_attentions=True,
            mm_encoder_outputs={"image": model.image_features(tokens)},
        )  # fmt: skip
    scores = torch.stack(whole.attentions).mean(dim=(0, 2))[:, length - 1 : -1]
    is_image = (seen.input_ids == model.config.image_token_id) & seen.attention_mask.bool()
    found = model.attention_to_glimpses(seen, said)
    assert found.shape == (2, 5, 3)
    for row, count in ((0, 2), (1, 3)):
        columns = is_image[row].nonzero()[-9 * count :, 0].view(count, 9)
        expected = scores[row][:, columns].sum(dim=-1)
        torch.testing.assert_close(found[row, :, :count], expected, atol=1e-5, rtol=1e-4)
    assert found[0, :, 2].abs().max() == 0, "it has two glimpses"
    monkeypatch.setattr(generation_gazevlm, "MEASURED_TOKENS", 2)
    torch.testing.assert_close(model.attention_to_glimpses(seen, said), found, atol=1e-6, rtol=1e-5)
    assert model.get_decoder().config._attn_implementation == "eager"


def test_every_sentence_has_its_share_alone_and_in_a_batch(
    engine: GazeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["Large left effusion. No edema.", "Yes."]
    monkeypatch.setattr(type(engine.processor.tokenizer), "batch_decode", lambda *_, **__: texts)
    both = engine.diagnose(IMAGES, QUESTIONS, TWELVE, look_at=HERE)
    assert [[one.text for one in found.sentences] for found in both] == [
        ["Large left effusion.", "No edema."], ["Yes."]
    ]  # fmt: skip
    for row, found in enumerate(both):
        monkeypatch.setattr(type(engine.processor.tokenizer), "batch_decode", lambda *_, row=row, **__: [texts[row]])
        alone = engine.diagnose(IMAGES[row], QUESTIONS[row], TWELVE, look_at=HERE)
        for one, same in zip(found.sentences, alone.sentences, strict=True):
            assert one.text == same.text
            assert one.shares == pytest.approx(same.shares, abs=1e-5)
            assert 0 < sum(one.shares) < 1
    assert engine.model.get_decoder().config._attn_implementation == "sdpa", "words are written as before"


# ---- what is computed again -----------------------------------------------------------------------------------------
def test_a_changed_path_computes_glimpses_and_words_alone(
    folder: Path, engine: GazeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = GazeEngine.load(str(folder), device="cpu")
    done: list[str] = []
    for name in ("encode_images", "prefill"):
        true = getattr(engine, name)
        monkeypatch.setattr(
            engine, name, lambda *args, name=name, true=true, **more: done.append(name) or true(*args, **more)
        )
    image = noise(480, 400, 7)
    records = [engine.diagnose(image, QUESTIONS[0], TWELVE, look_at=places) for places in (HERE, THERE, HERE)]
    assert done == ["encode_images", "prefill"]
    assert records[0].to_dict() == records[2].to_dict()
    assert records[1].finding_probabilities != records[0].finding_probabilities
    for record, places in zip(records, (HERE, THERE), strict=False):
        wanted = fresh.diagnose(image.copy(), QUESTIONS[0], TWELVE, look_at=places).to_dict()
        fresh._last = None  # as if it was asked for the first time
        assert record.to_dict() == wanted
    left = engine.stream(image, QUESTIONS[0], TWELVE)
    next(left)
    next(left)
    left.close()
    assert engine.diagnose(image, QUESTIONS[0], TWELVE, look_at=THERE).to_dict() == records[1].to_dict()
    assert done == ["encode_images", "prefill"], "nor after a stream that was left"
    engine.diagnose(image, QUESTIONS[1], TWELVE, look_at=THERE)
    assert done[2:] == ["prefill"], "another question is another pass"


def test_a_moved_place_is_the_only_one_that_is_encoded(engine: GazeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = engine.model.encode_glimpses

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        tokens = encode(pixels)
        encoded.append(len(tokens))
        return tokens

    monkeypatch.setattr(engine.model, "encode_glimpses", counted)
    image = noise(460, 420, 9)
    places = [(0.2, 0.2), (0.5, 0.5), (0.8, 0.3)]
    moved = [places[0], (0.6, 0.8), places[2]]
    first, second, again = (engine.diagnose(image, options=TWELVE, look_at=path) for path in (places, moved, places))
    assert encoded == [3, 1]
    assert again.to_dict() == first.to_dict()
    engine.forget_images()
    fresh = engine.diagnose(image, options=TWELVE, look_at=moved)
    assert encoded == [3, 1, 3]
    assert fresh.answer == second.answer
    assert fresh.finding_probabilities == pytest.approx(second.finding_probabilities, abs=1e-6)
    with monkeypatch.context() as few:
        few.setattr(generation_gazevlm, "KEPT_GLIMPSES", 3)
        for across in (0.1, 0.3, 0.5, 0.7):
            engine.diagnose(image, options=TWELVE, look_at=[(across, 0.1), (across, 0.9)])
    (kept,) = engine._encoded.values()
    assert len(kept.glimpses) <= 5


def test_a_pass_that_failed_is_not_used_again(engine: GazeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    image, passes = noise(440, 440, 8), []
    prefill = engine.prefill
    monkeypatch.setattr(engine, "prefill", lambda *args, **more: passes.append(1) or prefill(*args, **more))
    wanted = engine.diagnose(image, options=TWELVE, look_at=HERE)
    with monkeypatch.context() as broken:
        broken.setattr(engine.model, "add_glimpses", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.diagnose(image, options=TWELVE, look_at=THERE)
    assert engine.diagnose(image, options=TWELVE, look_at=HERE).to_dict() == wanted.to_dict()
    assert len(passes) == 2
    layers = engine.model.get_decoder().layers
    stop = layers[1].register_forward_pre_hook(lambda *_: 1 / 0)  # the first layer has grown its cache by then
    with pytest.raises(ZeroDivisionError):
        engine.diagnose(image, options=TWELVE, look_at=THERE)
    stop.remove()
    assert engine.diagnose(image, options=TWELVE, look_at=HERE).to_dict() == wanted.to_dict()
    written = layers[1].register_forward_pre_hook(
        lambda _, arguments: 1 / 0 if arguments[0].shape[1] == 1 else None  # at the first word
    )
    with pytest.raises(ZeroDivisionError):
        engine.diagnose(image, options=TWELVE, look_at=THERE)
    written.remove()
    assert engine.diagnose(image, options=TWELVE, look_at=HERE).to_dict() == wanted.to_dict()
    assert len(passes) == 4


# ---- the library's own ways -----------------------------------------------------------------------------------------
def test_what_the_library_generates_is_what_the_engine_says(folder: Path, engine: GazeEngine) -> None:
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    wanted = [engine.diagnose(image, question, TWELVE) for image, question in zip(IMAGES, QUESTIONS, strict=True)]
    assert all(len(record.glimpses) == 3 and record.answer for record in wanted)
    pixels = [IMAGES[0], np.asarray(IMAGES[1])]
    inputs = processor(images=pixels, text=QUESTIONS, return_tensors="pt")
    assert set(inputs) == set(processor.model_input_names)
    ids = model.generate(**inputs, max_new_tokens=12)
    prompt = inputs["input_ids"].shape[1]
    assert ids[:, :prompt].tolist() == inputs["input_ids"].tolist(), "the glimpses are no part of it"
    said = [text.strip() for text in processor.batch_decode(ids[:, prompt:], skip_special_tokens=True)]
    assert said == [record.answer for record in wanted]
    whole = model.generate(**inputs, max_new_tokens=12, return_dict_in_generate=True)
    assert whole.sequences.tolist() == ids.tolist()
    ask = pipeline("image-text-to-text", model=model, processor=processor)
    content = [{"type": "image", "image": IMAGES[0]}, {"type": "text", "text": QUESTIONS[0]}]
    for way in ({"images": IMAGES[0], "text": QUESTIONS[0]}, {"text": [{"role": "user", "content": content}]}):
        (answered,) = ask(**way, max_new_tokens=12, return_full_text=False)
        assert answered["generated_text"].strip() == wanted[0].answer


def test_what_a_model_with_glimpses_needs_is_said(folder: Path) -> None:
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor(images=IMAGES[0], text=QUESTIONS[0], return_tensors="pt")
    kept = {name: one for name, one in inputs.items() if name != "fine_images"}
    with pytest.raises(ValueError, match=r"needs all that its processor returns.*fine_images"):
        model.generate(**kept, max_new_tokens=2)
    content = [{"type": "image", "image": IMAGES[0]}, {"type": "text", "text": QUESTIONS[0]}]
    begun = [{"role": "user", "content": content}, {"role": "assistant", "content": [{"type": "text", "text": "No"}]}]
    ways = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "continue_final_message": True}
    with pytest.raises(ValueError, match="ends with its gaze tokens"):
        model.generate(**processor.apply_chat_template(begun, **ways), max_new_tokens=2)
    with pytest.raises(ValueError, match="without beams"):
        model.generate(**inputs, max_new_tokens=2, num_beams=2)
    processor.gaze_config = None
    assert "fine_images" not in processor(images=IMAGES[0], text=QUESTIONS[0], return_tensors="pt")
