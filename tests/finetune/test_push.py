"""Pushing to the Hub: what is sent, what is refused, and that what a stub stored is the adapter again."""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import filter_repo_objects
from typer.testing import CliRunner

from cli.main import app
from finetune.export import files as pushing
from finetune.export.files import ExportError, push_folder
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.adapters import ADAPTER_FILES, WEIGHTS_FILE
from tests.adapter_maker import make_adapter
from web.hub import HubError

REPO = "owner/adapter"
REQUEST = httpx.Request("POST", "https://huggingface.co/api/models/owner/adapter/commit/main")
TOKEN = "hf_secret_token"


@dataclass(frozen=True)
class Sibling:
    rfilename: str


@dataclass(frozen=True)
class Info:
    private: bool
    siblings: list[Sibling]


class ModelHubStub:
    """A repository in a folder; `plan` says what the next uploads do: "ok", "down", "busy", "forbidden", "lost"."""

    def __init__(self, folder: Path, plan: tuple[str, ...] = (), *, public: bool = False) -> None:
        self.folder, self.plan, self.public = folder, list(plan), public
        self.uploads = 0

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        assert (repo_id, repo_type, exist_ok) == (REPO, "model", True)
        if not self.folder.is_dir():  # one that is there keeps who may see it
            self.folder.mkdir()
            self.public = not private
            (self.folder / ".gitattributes").write_text("*.safetensors filter=lfs")

    def model_info(self, repo_id: str) -> Info:
        return Info(not self.public, [Sibling(path.name) for path in self.folder.iterdir()])

    def upload_folder(
        self, *, repo_id: str, folder_path: str, allow_patterns: list[str], repo_type: str, commit_message: str
    ) -> None:
        assert (repo_id, repo_type, bool(commit_message)) == (REPO, "model", True)
        action = self.plan.pop(0) if self.plan else "ok"
        if action == "down":
            raise httpx.ConnectError("no route", request=REQUEST)
        if action in ("busy", "forbidden"):
            status = 503 if action == "busy" else 403
            raise HfHubHTTPError(f"no {TOKEN}", response=httpx.Response(status, request=REQUEST))
        names = [path.relative_to(folder_path).as_posix() for path in Path(folder_path).rglob("*") if path.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            (self.folder / name).write_bytes((Path(folder_path) / name).read_bytes())
        self.uploads += 1
        if action == "lost":
            raise httpx.ReadTimeout("timed out", request=REQUEST)


@pytest.fixture(scope="module")
def adapter(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_adapter(tiny_checkpoint, tmp_path_factory.mktemp("adapters") / "mine")
    (folder / "provenance.json").write_text(json.dumps({"name": "mine"}))
    (folder / "trainer_state.json").write_text("{}")
    (folder / "sub").mkdir()
    (folder / "sub" / "README.md").write_text("another")
    return folder


def push(adapter: Path, hub: ModelHubStub, *, private: bool = True) -> pushing.Pushed:
    return push_folder(adapter, REPO, token=TOKEN, private=private, api=hub, attempts=3, first_wait_s=0.001)


def test_what_was_pushed_is_the_adapter_again(tiny_checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    hub = ModelHubStub(tmp_path / "hub")
    pushed = push(adapter, hub)
    wanted = {*ADAPTER_FILES, "provenance.json", "README.md"}
    assert pushed.private
    assert set(pushed.files) == wanted
    assert {path.name for path in hub.folder.iterdir()} == {*wanted, ".gitattributes"}
    assert (hub.folder / "README.md").read_text() == (adapter / "README.md").read_text()  # the card
    engine = GazeEngine.load(str(tiny_checkpoint), adapter=hub.folder, device="cpu")
    assert engine.gaze_config.finding_names == ("edema",)
    push(adapter, hub)  # a newer version of the same
    assert hub.uploads == 2


@pytest.mark.parametrize("plan", [("down", "busy", "ok"), ("lost", "ok")])
def test_a_hub_that_fails_is_asked_again(adapter: Path, tmp_path: Path, plan: tuple[str, ...]) -> None:
    hub = ModelHubStub(tmp_path / "hub", plan)
    push(adapter, hub)
    assert hub.plan == []
    assert (hub.folder / WEIGHTS_FILE).read_bytes() == (adapter / WEIGHTS_FILE).read_bytes()


@pytest.mark.parametrize(
    ("plan", "said", "left"),
    [
        (("forbidden", "ok"), "The Hub refused (403) for owner/adapter; check that the token may write there.", ["ok"]),
        (("busy",) * 3, "The Hub refused (503) for owner/adapter.", []),
        (("down",) * 3, "The Hub cannot be reached (ConnectError).", []),
    ],
)
def test_failures_are_one_sentence_without_the_token(
    adapter: Path, tmp_path: Path, plan: tuple[str, ...], said: str, left: list[str]
) -> None:
    hub = ModelHubStub(tmp_path / "hub", plan)
    with pytest.raises(HubError) as error:
        push(adapter, hub)
    assert str(error.value) == said
    assert hub.plan == left


def test_a_file_that_cannot_be_read_is_no_lost_connection(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, tries = ModelHubStub(tmp_path / "hub"), []

    def upload(**_: object) -> None:
        tries.append(1)
        (tmp_path / "nowhere").read_bytes()

    monkeypatch.setattr(hub, "upload_folder", upload)
    with pytest.raises(FileNotFoundError):
        push(adapter, hub)
    monkeypatch.setattr(pushing, "HfApi", lambda token: hub)
    done = CliRunner().invoke(app, ["adapter", "push", str(adapter), REPO])
    assert (done.exit_code, done.stderr.count("\n"), len(tries)) == (1, 1, 2)
    assert "No such file or directory" in done.stderr


def test_a_public_repository_does_not_become_the_place_of_something_private(adapter: Path, tmp_path: Path) -> None:
    hub = ModelHubStub(tmp_path / "hub")
    assert not push(adapter, hub, private=False).private
    with pytest.raises(ExportError, match="public already"):
        push(adapter, hub)
    assert hub.uploads == 1


def test_a_repository_of_something_else_is_left_alone(adapter: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    hub = ModelHubStub(tmp_path / "hub")
    push_folder(tiny_checkpoint, REPO, api=hub, attempts=1)
    assert (hub.folder / "model.safetensors").is_file()
    assert GazeEngine.load(str(hub.folder), device="cpu").gaze_config.finding_names == ("cardiomegaly", "pneumothorax")
    with pytest.raises(ExportError, match=r"holds something else \(chat_template.jinja\)"):
        push(adapter, hub)
    assert hub.uploads == 1


@pytest.mark.parametrize("name", ["adapter", "a/b/c", "owner/ä", "owner/.."])
def test_names_that_are_none(adapter: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="OWNER/NAME"):
        push_folder(adapter, name, api=ModelHubStub(tmp_path / "hub"))


def test_the_command(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, tokens = ModelHubStub(tmp_path / "hub", ("ok", "forbidden")), []

    def client(token: str | None) -> ModelHubStub:
        tokens.append(token)
        return hub

    monkeypatch.setattr(pushing, "HfApi", client)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = CliRunner().invoke(app, ["adapter", "push", str(adapter), REPO])
    assert (done.exit_code, done.stdout) == (0, "https://huggingface.co/owner/adapter: 6 files, private\n")
    assert tokens == [TOKEN]
    done = CliRunner().invoke(app, ["adapter", "push", str(adapter), REPO])
    assert (done.exit_code, done.stderr.count("\n"), TOKEN in done.output) == (1, 1, False)


def test_offline_is_said(adapter: Path) -> None:
    """With the real client: HF_HUB_OFFLINE is set in tests."""
    done = CliRunner().invoke(app, ["adapter", "push", str(adapter), REPO])
    assert done.exit_code == 1
    assert "HF_HUB_OFFLINE" in done.stderr
