"""The configuration: one value, the same from YAML and from flags, and every mistake named in one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from filelock import FileLock
from typer.testing import CliRunner

from finetune.command import LOCK_FILE, RUN_OPTIONS, _check_folders, _delete_unused, finetune
from finetune.config import ConfigError, FinetuneConfig, Optimizer, ReportTo, differing, read_yaml, setting_of
from gazevlm_core.options import Attention, Precision
from gazevlm_core.training.gaze_order import GazeOrder

# A value of every field that is not the usual one, as typed on the command line.
FLAGS: dict[str, tuple[list[str], Any]] = {
    "annotations": (["--annotations", "first", "--annotations", "vinbig=second,third"],
                    ("first", "vinbig=second,third")),
    "shares": (["--shares", "0.25", "--shares", "0.75"], (0.25, 0.75)),
    "annotators": (["--annotators", "owl", "--annotators", "fox"], ("owl", "fox")),
    "held_out_share": (["--held-out-share", "0.3"], 0.3),
    "held_out_annotators": (["--held-out-annotators", "cat"], ("cat",)),
    "gaze_order": (["--gaze-order", "shuffled"], GazeOrder.SHUFFLED),
    "add_findings": (["--no-add-findings"], False),
    "base": (["--base", "Qwen/Qwen2.5-VL-3B-Instruct"], "Qwen/Qwen2.5-VL-3B-Instruct"),
    "precision": (["--precision", "nf4"], Precision.NF4),
    "device": (["--device", "cuda:1"], "cuda:1"),
    "attn": (["--attn", "eager"], Attention.EAGER),
    "num_gaze_tokens": (["--num-gaze-tokens", "7"], 7),
    "num_glimpses": (["--num-glimpses", "3"], 3),
    "min_pixels": (["--min-pixels", "50000"], 50_000),
    "max_pixels": (["--max-pixels", "90000"], 90_000),
    "lora_rank": (["--lora-rank", "4"], 4),
    "lora_alpha": (["--lora-alpha", "5"], 5),
    "lora_dropout": (["--lora-dropout", "0.1"], 0.1),
    "dora": (["--dora"], True),
    "rslora": (["--rslora"], True),
    "freeze_language": (["--freeze-language"], True),
    "freeze_vision": (["--no-freeze-vision"], False),
    "freeze_heads": (["--freeze-heads"], True),
    "gaze_weight": (["--gaze-weight", "2"], 2.0),
    "text_weight": (["--text-weight", "0"], 0.0),
    "finding_weight": (["--finding-weight", "3"], 3.0),
    "dwell_weight": (["--dwell-weight", "0"], 0.0),
    "retain": (["--retain", "0"], 0.0),
    "target_sigma_patches": (["--target-sigma-patches", "0.7"], 0.7),
    "glimpse_shares": (["--glimpse-shares", "1", "--glimpse-shares", "0", "--glimpse-shares", "0"], (1.0, 0.0, 0.0)),
    "epochs": (["--epochs", "2.5"], 2.5),
    "max_steps": (["--max-steps", "9"], 9),
    "batch_size": (["--batch-size", "3"], 3),
    "accumulation": (["--accumulation", "2"], 2),
    "questions_per_image": (["--questions-per-image", "4"], 4),
    "learning_rate": (["--learning-rate", "2e-4"], 2e-4),
    "heads_learning_rate": (["--heads-learning-rate", "1e-5"], 1e-5),
    "warmup_share": (["--warmup-share", "0"], 0.0),
    "weight_decay": (["--weight-decay", "0"], 0.0),
    "max_grad_norm": (["--max-grad-norm", "0.5"], 0.5),
    "optimizer": (["--optimizer", "adamw"], Optimizer.ADAMW),
    "gradient_checkpointing": (["--no-gradient-checkpointing"], False),
    "group_by_length": (["--group-by-length"], True),
    "cache_features": (["--no-cache-features"], False),
    "workers": (["--workers", "2"], 2),
    "check_room": (["--no-check-room"], False),
    "seed": (["--seed", "11"], 11),
    "evaluations": (["--evaluations", "2"], 2),
    "patience": (["--patience", "3"], 3),
    "checkpoints": (["--checkpoints", "1"], 1),
    "report_to": (["--report-to", "tensorboard"], ReportTo.TENSORBOARD),
    "fsdp_storage": (["--fsdp-storage"], True),
    "deepspeed": (["--deepspeed", "zero2.json"], "zero2.json"),
}  # fmt: skip

BAD: list[tuple[str, Any]] = [
    ("annotations", []), ("annotations", [""]), ("annotations", [3]), ("annotations", "folder"),
    ("shares", [1.0, 2.0]), ("shares", [0.0]), ("shares", [float("nan")]), ("shares", [float("inf")]),
    ("annotators", [1]), ("held_out_share", 0), ("held_out_share", 1), ("held_out_share", float("nan")),
    ("gaze_order", "backwards"), ("add_findings", "perhaps"), ("base", ""), ("precision", "fp4"),
    ("device", "tpu"), ("device", "cuda:x"), ("num_gaze_tokens", 0), ("num_gaze_tokens", 1.5),
    ("min_pixels", 1), ("max_pixels", 783), ("lora_rank", 0), ("lora_alpha", 0), ("lora_dropout", 1),
    ("dora", 2), ("gaze_weight", -1), ("gaze_weight", float("inf")), ("text_weight", float("nan")),
    ("finding_weight", "much"), ("dwell_weight", -0.1), ("retain", 1.1), ("target_sigma_patches", -1),
    ("glimpse_shares", [1, 1, 0]), ("glimpse_shares", [1, 0]),
    ("epochs", 0), ("epochs", float("inf")), ("max_steps", -1), ("batch_size", 0), ("accumulation", 0),
    ("questions_per_image", 0),
    ("learning_rate", 0), ("learning_rate", 1), ("heads_learning_rate", -1), ("warmup_share", 1),
    ("weight_decay", float("inf")), ("max_grad_norm", 0), ("optimizer", "lion"),
    ("gradient_checkpointing", "often"), ("seed", -1), ("seed", 2**31), ("evaluations", 0), ("patience", -1),
    ("checkpoints", 0), ("report_to", "wandb"), ("attn", "flash"), ("workers", -1),
    ("workers", 65), ("check_room", "maybe"), ("fsdp_storage", None), ("deepspeed", 3), ("learning_rates", 1e-3),
]  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> tuple[CliRunner, typer.Typer]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(finetune)
    return CliRunner(), app


def one_line_that_names(error: ConfigError, *names: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert all(name in text for name in names), text


def test_the_table_of_flags_covers_every_field() -> None:
    assert list(FLAGS) == list(FinetuneConfig.model_fields)
    usual = {name: field.default for name, field in FinetuneConfig.model_fields.items()}
    assert [name for name, (_, value) in FLAGS.items() if value == usual[name]] == []


def test_yaml_gives_the_same_configuration_back(tmp_path: Path) -> None:
    values = {name: value for name, (_, value) in FLAGS.items() if name not in ("freeze_language", "min_pixels")}
    for config in (FinetuneConfig(annotations=("a",)), FinetuneConfig(**values),
                   FinetuneConfig(annotations=("naïve = folder: #1", "007"), base="null", annotators=("no", "1e3"))):
        file = tmp_path / "config.yaml"
        file.write_text(config.to_yaml(), encoding="utf-8")
        assert FinetuneConfig.from_yaml(file) == config
        assert FinetuneConfig.from_values(config.to_values()) == config


def test_a_configuration_does_not_change() -> None:
    config = FinetuneConfig(annotations=("a",))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value}" for name, value in BAD])
def test_every_bad_value_is_named_in_one_line(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig.from_values({"annotations": ["a"], name: value})
    one_line_that_names(caught.value, name)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"annotations": ["a", "b"], "shares": [1.0]}, ["shares"]),
        ({"min_pixels": 90_000, "max_pixels": 80_000}, ["min_pixels", "max_pixels"]),
        ({"annotators": ["owl"], "held_out_annotators": ["fox", "owl"]}, ["annotators", "held_out_annotators", "owl"]),
        ({"freeze_language": True, "freeze_vision": True}, ["language model", "vision tower"]),
        ({"gaze_weight": 0, "text_weight": 0, "finding_weight": 0}, ["gaze_weight", "text_weight", "finding_weight"]),
        ({"annotations": None}, ["annotations"]),
    ],
)
def test_values_that_do_not_go_together_are_named(values: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig.from_values({"annotations": ["a"], **values})
    one_line_that_names(caught.value, *names)


def test_no_data_set_is_no_configuration() -> None:
    for values in ({}, None, 3, []):
        with pytest.raises(ConfigError) as caught:
            FinetuneConfig.from_values(values)
        one_line_that_names(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "seed: [1\n", "just words", "\x00", "a: b: c"])
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    one_line_that_names(caught.value, "run.yaml")
    with pytest.raises(ConfigError, match=r"other\.yaml"):
        FinetuneConfig.from_yaml(tmp_path / "other.yaml")
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_yaml(file)


def test_numbers_as_people_write_them_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("annotations: [a]\nlearning_rate: 1e-4\n")  # YAML 1.1 takes this for words
    assert FinetuneConfig.from_yaml(file).learning_rate == 1e-4


def test_the_trainers_names_mean_the_same(runner: tuple[CliRunner, typer.Typer], tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("annotations: [a]\nper_device_train_batch_size: 3\ngradient_accumulation_steps: 4\n")
    config = FinetuneConfig.from_yaml(file)
    assert (config.batch_size, config.accumulation) == (3, 4)
    cli, app = runner
    words = ["--config", str(file), "--gradient-accumulation-steps", "2", "--num-train-epochs", "5", "--print-config"]
    printed = FinetuneConfig.from_values(yaml.safe_load(cli.invoke(app, words).stdout))
    assert (printed.batch_size, printed.accumulation, printed.epochs) == (3, 2, 5.0)


def test_a_run_of_before_a_setting_was_there_had_its_default() -> None:
    values = FinetuneConfig(annotations=("a",), seed=3).to_values()
    stored = {name: value for name, value in values.items() if name != "patience"}
    assert differing(values, stored) == []
    assert differing({**values, "patience": 2, "seed": 4}, stored) == ["seed", "patience"]
    assert differing({**values, "patience": 2, "seed": 4}, stored, {"seed"}) == ["patience"]


# ---- flags ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FLAGS)
def test_every_field_is_a_flag_that_goes_before_the_file(
    runner: tuple[CliRunner, typer.Typer], tmp_path: Path, name: str
) -> None:
    cli, app = runner
    words, wanted = FLAGS[name]
    file = tmp_path / "run.yaml"
    base = {"annotations": ["x", "y"], "freeze_vision": name != "freeze_language"}
    before = FinetuneConfig.from_values(base)
    file.write_text(before.to_yaml())
    result = cli.invoke(app, ["--config", str(file), *words, "--print-config"])
    assert result.exit_code == 0, result.output
    printed = FinetuneConfig.from_values(yaml.safe_load(result.stdout))
    assert getattr(printed, name) == wanted
    assert printed == before.model_copy(update={name: wanted})


def test_flags_that_are_not_given_leave_the_file_alone(runner: tuple[CliRunner, typer.Typer], tmp_path: Path) -> None:
    cli, app = runner
    values = {name: value for name, (_, value) in FLAGS.items() if name != "freeze_language"}
    file = tmp_path / "run.yaml"
    file.write_text(FinetuneConfig(**values).to_yaml())
    result = cli.invoke(app, ["--config", str(file), "--print-config"])
    assert yaml.safe_load(result.stdout) == yaml.safe_load(file.read_text())
    result = cli.invoke(app, ["--config", str(file), "--print-config", "--no-dora", "--seed", "0", "--deepspeed", ""])
    changed = yaml.safe_load(result.stdout)
    assert (changed["dora"], changed["seed"], changed["deepspeed"]) == (False, 0, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "{new}"], "annotations"),
        (["--annotations", "a", "--seed", "-1", "--print-config"], "seed"),
        (["--annotations", "a"], "--out"),
        (["--annotations", "a", "--out", "."], "names no new folder"),
        (["--annotations", "a", "--out", "/", "--resume"], "names no new folder"),
        (["--annotations", "a", "--out", "{new}/.."], "names no new folder"),
        (["--annotations", "a", "--out", "{there}"], "there already"),
        (["--annotations", "a", "--out", "{new}", "--run", "{run}"], "--resume"),
        (["--config", "{new}", "--print-config"], "cannot read"),
    ],
)
def test_a_wrong_command_says_so_in_one_line_and_writes_nothing(
    runner: tuple[CliRunner, typer.Typer], tmp_path: Path, words: list[str], said: str
) -> None:
    cli, app = runner
    (tmp_path / "there").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text('{"event": "step", "step": 1}\n')
    places = {name: str(tmp_path / name) for name in ("there", "new", "run")}
    before = sorted(tmp_path.rglob("*"))
    result = cli.invoke(app, [word.format(**places) for word in words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.startswith("gazevlm finetune: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_help_groups_every_field_and_cuts_no_name_in_a_narrow_window() -> None:
    from cli.main import app as program

    result = CliRunner().invoke(program, ["finetune", "--help"], env={"COLUMNS": "60", "TERM": "dumb"})
    assert result.exit_code == 0
    groups = [group for name in FinetuneConfig.model_fields if (group := setting_of(name).group)]
    assert groups == ["Data", "Base", "Adapter", "Losses", "Optimisation", "Run"]
    places = [result.stdout.index(f"\n{group}:\n") for group in (RUN_OPTIONS, *groups)]
    assert places == sorted(places)
    for name, field in FinetuneConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in result.stdout
        if field.annotation in (bool, bool | None):
            assert f"--no-{name.replace('_', '-')}" in result.stdout
    assert "usually 16" in result.stdout


def test_a_configuration_is_printed_as_a_form_without_any_data(runner: tuple[CliRunner, typer.Typer]) -> None:
    cli, app = runner
    result = cli.invoke(app, ["--print-config"])
    assert result.exit_code == 0
    assert FinetuneConfig.from_values(yaml.safe_load(result.stdout)) == FinetuneConfig(annotations=("FOLDER",))


@pytest.mark.parametrize("words", [["--annotations", "a", "--print-config"], ["--help"]])
def test_printing_imports_nothing_heavy(repository: Path, words: list[str]) -> None:
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['finetune', *{words!r}]\n"
        "try:\n    runpy.run_module('finetune', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'peft', 'gradio', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "lora" in result.stdout


def test_the_command_of_the_program_is_the_same(runner: tuple[CliRunner, typer.Typer]) -> None:
    from cli.main import app as program

    cli, app = runner
    words = ["--annotations", "a", "--lora-rank", "3", "--print-config"]
    assert cli.invoke(program, ["finetune", *words]).stdout == cli.invoke(app, words).stdout != ""


# ---- a second try ---------------------------------------------------------------------------------------------------
def test_a_mistyped_folder_leaves_nothing_behind_and_the_next_try_begins(
    runner: tuple[CliRunner, typer.Typer], tmp_path: Path
) -> None:
    cli, app = runner
    words = ["--annotations", str(tmp_path / "mistyped"), "--out", str(tmp_path / "mine")]
    for _ in range(2):
        result = cli.invoke(app, words)
        assert result.exit_code == 1
        assert "mistyped" in result.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_run_that_ended_before_its_first_step_does_not_stand_in_the_way(
    runner: tuple[CliRunner, typer.Typer], tmp_path: Path
) -> None:
    run = tmp_path / "mine.run"
    (run / "features").mkdir(parents=True)
    for name, text in (("log.jsonl", '{"event": "phase", "text": "Loading the base"}\n'), ("begun.json", "{}")):
        (run / name).write_text(text)
    _check_folders(tmp_path / "mine", run, resume=True)
    assert (run / "begun.json").exists(), "resuming goes on with it"
    with FileLock(run / LOCK_FILE):
        _check_folders(tmp_path / "mine", run, resume=False)
    assert (run / "begun.json").exists(), "another process is at it"
    _check_folders(tmp_path / "mine", run, resume=False)
    assert {path.name for path in run.iterdir()} == {"features", LOCK_FILE}
    (run / "log.jsonl").write_text('{"event": "step", "step": 1}\n')
    with pytest.raises(ConfigError, match="holds a run already"):
        _check_folders(tmp_path / "mine", run, resume=False)


def test_the_folder_of_another_process_is_never_deleted(tmp_path: Path) -> None:
    run = tmp_path / "mine.run"
    run.mkdir()
    with FileLock(run / LOCK_FILE):
        _delete_unused(run)
        assert run.is_dir(), "another process trains there"
    (run / "begun.json").write_text("{}")
    _delete_unused(run)
    assert run.is_dir(), "its data were read"
    (run / "begun.json").unlink()
    _delete_unused(run)
    assert not run.exists()
    _delete_unused(run)

