"""Where an adapter comes from: everything is told but the folders of the machine."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from finetune.base import Base, folder_digest
from finetune.card import provenance_lines, render_card
from finetune.cases import Split, fingerprint, path_lengths, read_cases, split_cases
from finetune.config import ConfigError, FinetuneConfig
from finetune.provenance import provenance_values, write_provenance
from finetune.records import Measure, RecordError, Verdict, measures_of, read_provenance, write_json
from finetune.run import finished_before
from finetune.verdict import CHOSEN, LEAST_OF_EACH, chosen_by_scores
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn, read_all_trained_on
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores, FindingScore, read_scores
from gazevlm_core.inference import what_is_known
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.sample import Sample
from tests.finetune.case_maker import HERE, Study, configure, make_case, submission_digest, write_folder

MEASURES = [
    Measure("sequence score", 0.5123, 0.25, {"its own path, shuffled": 0.2, "chance": 0.125}),
    Measure("AUROC of added findings", 0.75, 0.5, {"chance": 0.5}),
    Measure("AUROC: edema", 0.75, 0.5, {"chance": 0.5}),
    Measure("AUROC: left | right", 1.0, None, {"chance": 0.5}),
    Measure("gaze loss", 2.0, 3.0, {}, False, "nats"),
    Measure("text loss", None, None, {}, False, "nats"),
]
VERDICT = Verdict("better", "It is better than its base (24 held-out patients): sequence score 0.250 to 0.512.")
TRAINED: dict[str, Any] = {"steps": 40, "seconds": 12.3456, "device": "cpu", "left_out": ("rare",)}


class Made:
    """An adapter's folder, as a run leaves it, and what it was made from."""

    def __init__(self, place: Path, **values: Any) -> None:
        studies = [
            Study(f"i{n}", n, f"p{n}", {"edema": float(n % 2), "left | right": float(n % 3 == 0)},
                  readings={"owl": HERE, "fox": HERE[::-1]})
            for n in range(12)
        ]  # fmt: skip
        data = write_folder(place / "exported", studies)
        base_folder = place / "my base"
        base_folder.mkdir()
        (base_folder / "model.safetensors").write_bytes(b"weights")
        self.config: FinetuneConfig = configure(
            data, f"folder={data}", base=str(base_folder), deepspeed=str(place / "zero.json"), seed=3,
            held_out_share=0.4, held_out_annotators=["fox"], **values,
        )  # fmt: skip
        self.split: Split = split_cases(read_cases(self.config), self.config)
        engine = cast(Any, SimpleNamespace(checkpoint=SimpleNamespace(model_id="my base")))
        self.base = Base(engine, self.config.base, "", folder_digest(base_folder))
        self.out = place / "my-adapter"
        self.out.mkdir()
        self.values = provenance_values(
            self.out.name, self.config, self.base, self.split, MEASURES, VERDICT, **TRAINED
        )
        write_provenance(self.out, self.values, self.split.held_out)
        self.card = (self.out / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("machine"))


def test_no_folder_of_the_machine_is_told(made: Made, repository: Path) -> None:
    files = [path for path in made.out.iterdir() if path.is_file()]
    assert {path.name for path in files} == {"provenance.json", "README.md"}
    for path in files:
        text = path.read_text("utf-8")
        assert str(made.out.parent) not in text
        assert str(repository) not in text
        assert str(Path.home()) not in text
        assert not re.search(r'(?:^|[\s"=`(])(?:/|[A-Za-z]:\\|\\\\)\w', text), path.name


@pytest.mark.parametrize("relative", [".", "..", "./exported/../exported"])
def test_folders_given_from_here_are_told_by_name(
    made: Made, relative: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.out.parent / "exported")
    config = made.config.model_copy(update={"annotations": (relative,), "base": "."})
    values = provenance_values("a", config, made.base, made.split, [], VERDICT, **TRAINED)
    assert values["config"]["base"] == "exported"
    name = {".": "exported", "..": made.out.parent.name}.get(relative, "exported")
    assert values["config"]["annotations"] == [f"folder={name}"]


def test_a_name_on_the_hub_stays_whole(made: Made) -> None:
    source = "Qwen/Qwen2.5-VL-3B-Instruct"
    base = Base(made.base.engine, source, "abc123", "f" * 64)
    config = made.config.model_copy(update={"base": source})
    values = provenance_values("a", config, base, made.split, [], VERDICT, **TRAINED)
    assert values["base"]["source"] == values["config"]["base"] == source
    assert values["base"]["revision"] == "abc123"


def test_what_was_learned_is_named_with_its_digest_and_nothing_else(made: Made) -> None:
    trained = {f"{case.image_id}-owl": submission_digest(case.image_id, "owl")
               for case in made.split.train}  # fmt: skip
    told = {one["id"]: one["sha256"] for one in made.values["annotations"]}
    assert told == trained
    assert list(told) == sorted(told)
    held_out = {case.image_id for case in made.split.held_out}
    assert held_out
    assert not any(one.rpartition("-")[0] in held_out or one.endswith("-fox") for one in told)
    assert set(made.values["split"]["held_out"]) == held_out
    assert set(made.values["split"]["train"]) == {case.image_id for case in made.split.train}


def test_whom_it_was_trained_on_is_known_again_and_not_named(made: Made) -> None:
    told = read_all_trained_on(made.out)[0]
    assert told is not None
    assert all(told.has_patient(case) and case.digest in told.pictures for case in made.split.train)
    assert not any(told.has_patient(case) for case in made.split.held_out)
    assert not any(case.digest in told.pictures for case in made.split.held_out)
    assert told.rule == SplitRule(3, made.config.held_out_share)
    assert '"p1"' not in json.dumps(made.values["trained_on"])


def test_what_a_merged_base_was_trained_on_stays_known(made: Made, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    first = TrainedOn.of("salt", [Sample("p")], ["d"], SplitRule())
    write_json(merged / "provenance.json", {"trained_on": first.to_values()})
    base = Base(made.base.engine, str(merged), "", "f" * 64, tuple(read_all_trained_on(merged)))
    values = provenance_values("a", made.config, base, made.split, [], VERDICT, **TRAINED)
    write_json(merged / "provenance.json", values)  # as when the second adapter is merged again
    assert read_all_trained_on(merged) == [read_all_trained_on(made.out)[0], first]
    assert what_is_known(None, str(merged)) == [read_all_trained_on(made.out)[0], first]
    assert made.values["trained_on_before"] == []
    assert what_is_known(None, "gazevlm-nano-base") == [], "it saw no patient"


def test_what_the_gaze_tokens_cut_is_told_in_provenance_and_card(made: Made, tmp_path: Path) -> None:
    learned = {"gaze": GazeConfig(num_gaze_tokens=1), "lengths": path_lengths(made.split.train)}
    values = provenance_values("a", made.config, made.base, made.split, [], VERDICT, **{**TRAINED, **learned})
    readings = len(made.split.train)  # of the one annotator who is not hidden, two clicks each
    assert values["data"]["fixations"] == {
        "gaze_tokens": 1, "all": 2 * readings, "beyond_gaze_tokens": readings, "gaze_tokens_for_95_percent": 2,
        "words": values["data"]["fixations"]["words"],
    }  # fmt: skip
    write_provenance(tmp_path, values, made.split.held_out)
    said = f"Of the scanpaths, {readings} of {2 * readings} fixations (50%) lie beyond the first 1 of their reading"
    assert said in (tmp_path / "README.md").read_text()
    assert "Of the scanpaths" not in made.card


def test_columns_that_are_no_findings_are_told_in_provenance_and_card(made: Made, tmp_path: Path) -> None:
    why = "holds other values than 0 and 1, first in line 4"
    split = replace(made.split, not_read=({"a | b\nc": why}, {}))
    values = provenance_values("a", made.config, made.base, split, MEASURES, VERDICT, **TRAINED)
    assert [one["columns_not_read"] for one in values["data"]["datasets"]] == [{"a | b\nc": why}, {}]
    write_provenance(tmp_path, values, split.held_out)
    said = f"Columns of folder=exported that are no findings, so nothing was learned from them: a \\| b c: {why}."
    assert said in (tmp_path / "README.md").read_text()
    assert "Columns of" not in made.card
    for one in values["data"]["datasets"]:
        del one["columns_not_read"]  # as earlier versions wrote it
    assert "Columns of" not in render_card(values)


@pytest.mark.parametrize(("values", "chosen"), [
    ({"patience": 2}, True), ({}, False), ({"patience": 2, "evaluations": 1}, False),
])  # fmt: skip
def test_a_step_that_held_out_scores_chose_is_told(made: Made, values: dict, chosen: bool, tmp_path: Path) -> None:
    config = made.config.model_copy(update=values)
    verdict = chosen_by_scores(VERDICT, MEASURES) if config.chooses_step else VERDICT  # as a run does
    told = provenance_values("a", config, made.base, made.split, MEASURES, verdict, **TRAINED)
    write_provenance(tmp_path, told, made.split.held_out)
    shown = [told["verdict"]["why"], (tmp_path / "README.md").read_text(), "\n".join(provenance_lines(told))]
    assert [CHOSEN in text for text in shown] == [chosen] * 3


def test_everything_that_decides_an_adapter_is_told(made: Made) -> None:
    values = read_provenance(made.out)
    assert values == made.values == json.loads(json.dumps(made.values))
    assert (values["format"], values["version"], values["name"]) == ("gazevlm-adapter", 1, "my-adapter")
    assert values["base"] == {
        "source": "my base", "model_id": "my base", "revision": "", "fingerprint": made.base.fingerprint
    }  # fmt: skip
    assert values["seed"] == 3
    assert values["config"] == {
        **made.config.to_values(), "annotations": ["folder=exported"] * 2, "base": "my base", "deepspeed": "zero.json"
    }  # fmt: skip
    both = (*made.split.train, *made.split.held_out)
    assert values["data"]["fingerprint"] == fingerprint(both)
    assert [one["name"] for one in values["data"]["datasets"]] == ["folder=exported"] * 2
    assert [one["images"] for one in values["data"]["datasets"]] == [12, 12]
    assert sum(one["readings"] for one in values["data"]["datasets"]) == len(both)
    assert values["data"]["datasets"][0]["annotators"] == ["fox", "owl"]
    assert values["data"]["findings_left_out"] == ["rare"]
    assert {"torch", "transformers", "peft", "python"} <= values["libraries"].keys()
    assert values["training"] == {"steps": 40, "seconds": 12.3, "device": "cpu"}
    assert list(measures_of(values["measures"])) == MEASURES
    assert values["verdict"] == {"outcome": "better", "why": VERDICT.why, "scores": {}}


def test_the_card_counts_no_annotator_whom_nobody_names(made: Made) -> None:
    for names, said in ((["fox", "owl"], "2"), (["", "owl"], "1 and unknown ones"), ([""], "unknown"), ([], "0")):
        values = json.loads(json.dumps(made.values))
        values["data"]["datasets"][0]["annotators"] = names
        one = values["data"]["datasets"][0]
        assert f"| {one['images']} | {one['readings']} | {said} |" in render_card(values)


def test_the_card_is_what_the_hub_reads(made: Made) -> None:
    empty, front, body = made.card.split("---\n", 2)
    assert empty == ""
    assert yaml.safe_load(front) == {
        "base_model": "my base", "library_name": "peft", "tags": ["gazevlm", "lora", "gaze"],
        "pipeline_tag": "image-text-to-text",
    }  # fmt: skip
    assert "# my-adapter" in body
    assert VERDICT.why in body
    assert "not learned: rare." in body
    assert made.values["data"]["fingerprint"] in body


@pytest.mark.parametrize("name", ["a: b", "# c", "yes", "- d", "naïve"])
def test_no_name_breaks_the_front_matter(made: Made, name: str) -> None:
    from finetune.card import render_card

    card = render_card({**made.values, "base": {**made.values["base"], "model_id": name}})
    assert yaml.safe_load(card.split("---\n", 2)[1])["base_model"] == name


def test_the_card_has_a_row_for_every_measure(made: Made) -> None:
    lines = made.card.splitlines()
    first = lines.index("| measure | adapter | base | gain | floors |") + 2
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[first : first + len(MEASURES)]
    ]
    assert rows == [
        ["sequence score", "0.512", "0.250", "", "its own path, shuffled 0.200, chance 0.125"],
        ["AUROC of added findings", "0.750", "0.500", "", "chance 0.500"],
        ["AUROC: edema", "0.750", "0.500", "", "chance 0.500"],
        ["AUROC: left | right", "1.000", "-", "", "chance 0.500"],
        ["gaze loss (nats)", "2.000", "3.000", "", "-"],
        ["text loss (nats)", "-", "-", "", "-"],
    ]
    assert lines[first + len(MEASURES)] == ""


def test_the_diagnose_tab_reads_the_scores(made: Made, tmp_path: Path) -> None:
    """Of findings that enough patients have and lack, on as many images as tell: Diagnose gives them a word."""
    assert read_scores(made.out) is None, "of five images nobody can tell"

    def told(**labels: Sequence[float]) -> CheckpointScores | None:
        count = max(map(len, labels.values()))
        cases = [
            make_case(f"{n}", findings={name: values[n] for name, values in labels.items() if n < len(values)})
            for n in range(count)
        ]
        tmp_path.joinpath("finding_scores.json").unlink(missing_ok=True)
        measures = [asdict(Measure(f"AUROC: {name}", 0.75, None)) for name in labels]
        write_provenance(tmp_path, {**made.values, "measures": measures}, cases)
        return read_scores(tmp_path)

    enough = [1.0] * LEAST_OF_EACH + [0.0] * LEAST_OF_EACH
    scores = told(edema=[*enough, 0.0, 0.0, 0.0, 0.0], mass=enough, rare=[1.0] * (LEAST_OF_EACH - 1) + [0.0] * 30)
    assert scores is not None
    assert scores.findings == {"edema": FindingScore(0.75, LEAST_OF_EACH / 24), "mass": FindingScore(0.75, 0.5)}
    assert scores.scored_on == "20 to 24 held-out images of the data that the adapter was trained on"
    alone = told(mass=enough)
    assert alone is not None
    assert alone.scored_on.startswith("20 held-out images")
    assert told(rare=[1.0, 0.0, 0.0]) is None


def test_without_a_score_there_is_no_file_of_scores(made: Made, tmp_path: Path) -> None:
    write_provenance(tmp_path, {**made.values, "measures": []}, made.split.held_out)
    assert read_scores(tmp_path) is None
    assert (tmp_path / "README.md").is_file()


def test_an_adapter_that_is_there_is_known_by_what_it_was_made_with(tmp_path: Path) -> None:
    made = Made(tmp_path)
    ending = finished_before(made.config, made.out)
    assert ending is not None
    assert (ending.outcome, ending.cause, ending.step) == ("done", VERDICT.why, 40)
    free = {"device": "cpu", "checkpoints": 9}
    assert finished_before(made.config.model_copy(update=free), made.out) == ending
    for change in ({"seed": 4}, {"base": "gazevlm-nano"}, {"deepspeed": ""}):
        said = f"my-adapter is there already, made with another {next(iter(change))};"
        with pytest.raises(ConfigError, match=said):
            finished_before(made.config.model_copy(update=change), made.out)
    assert finished_before(made.config, made.out / "nowhere") is None
    with pytest.raises(ConfigError, match="is no adapter of a training"):
        finished_before(made.config, made.out.parent)
    (tmp_path / "my base" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match="made with other files of its base;"):
        finished_before(made.config, made.out)
    other = tmp_path / "elsewhere" / "exported"  # a folder of the same name
    readings = {"owl": HERE, "fox": HERE}
    write_folder(other, [Study(f"i{n}", n, f"p{n}", {"edema": 1.0}, readings=readings) for n in range(12)])
    changed = made.config.model_copy(update={"annotations": (str(other), f"folder={other}")})
    with pytest.raises(ConfigError, match="made with other data, other files of its base;"):
        finished_before(changed, made.out)
    write_json(made.out / "provenance.json", {**made.values, "data": {}})
    with pytest.raises(RecordError, match="is not as a training writes it"):
        finished_before(made.config, made.out)


def test_an_adapter_of_a_commit_of_the_hub_is_known_without_fetching_it(tmp_path: Path) -> None:
    made, source = Made(tmp_path), "owner/never-fetched"
    config = made.config.model_copy(update={"base": source})
    base = Base(made.base.engine, source, "abc123", "f" * 64)
    values = provenance_values("a", config, base, made.split, [], VERDICT, **TRAINED)
    write_json(made.out / "provenance.json", values)
    assert finished_before(config, made.out) is not None
