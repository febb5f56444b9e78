"""The endpoint /diagnose through gradio_client, and what is no endpoint."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from diagnose.record import RECORD_SCHEMA
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.overlay import DOT
from gazevlm_core.words import LENGTH_NOTE
from tests.diagnose.serving import serving_engine
from tests.diagnose.talking_model import SPOKEN, make_talking_checkpoint

if TYPE_CHECKING:
    from gradio_client import Client

    from gazevlm_core.inference import GazeEngine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "GazeEngine":
    from gazevlm_core.inference import GazeEngine

    folder = make_talking_checkpoint(tmp_path_factory.mktemp("talking"), trained_on="<b>bold</b> claims")
    return GazeEngine.load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def client(engine: "GazeEngine") -> Iterator["Client"]:
    from gradio_client import Client

    with serving_engine("talking", engine) as url:
        yield Client(url, verbose=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (200, 150), (90, 90, 90)).save(path)
    return path


def test_record_and_overlay(client: "Client", picture: Path) -> None:
    from gradio_client import handle_file

    record, overlay = client.predict(image=handle_file(picture), question="Is there an effusion?", api_name="/diagnose")
    assert list(record) == list(RECORD_SCHEMA["properties"])
    assert record["image"] == "picture.png"
    assert set(record["answer"].split()) <= set(SPOKEN.split())
    assert record["findings"].keys() == {"cardiomegaly", "pneumothorax"}
    assert record["seconds"] > 0
    rows, cols = record["grid"]
    with Image.open(overlay) as drawn:
        assert drawn.size == (200, 150)
        for fixation in record["scanpath"]:
            assert fixation["patch_index"] == int(fixation["y"] * rows) * cols + int(fixation["x"] * cols)
            place = (int(fixation["x"] * 200), int(fixation["y"] * 150))
            assert drawn.convert("RGB").getpixel(place) == DOT


def test_question_has_a_default(client: "Client", picture: Path) -> None:
    from gradio_client import handle_file

    asked, _ = client.predict(handle_file(picture), DEFAULT_QUESTION, api_name="/diagnose")
    default, _ = client.predict(image=handle_file(picture), api_name="/diagnose")
    assert default["answer"] == asked["answer"]
    assert default["scanpath"] == asked["scanpath"]


def test_settings_decide_the_path_and_bad_ones_are_one_sentence(client: "Client", picture: Path) -> None:
    from gradio_client import handle_file

    def path(**settings: object) -> object:
        record, _ = client.predict(image=handle_file(picture), api_name="/diagnose", **settings)
        return record["scanpath"]

    hot = {"path": "sample", "path_temperature": 2.0}
    assert path(**hot, path_seed=1) == path(**hot, path_seed=1) != path(**hot, path_seed=2)
    with pytest.raises(Exception, match=r"walks|100000"):
        path(walks=100_000)
    with pytest.raises(Exception, match="question is empty"):
        path(question="  ")


def test_a_given_path_is_shown_and_what_does_not_follow_is_said(client: "Client", picture: Path) -> None:
    from gradio_client import handle_file

    usual, _ = client.predict(image=handle_file(picture), api_name="/diagnose")
    for name, places in (("look_at", [[0.1, 0.2, 300], [0.7, 0.6, None]]), ("begin_at", [[0.1, 0.2]])):
        record, overlay = client.predict(image=handle_file(picture), api_name="/diagnose", **{name: places})
        given = zip(places, record["scanpath"], strict=False)
        assert all([one["x"], one["y"]] == place[:2] for place, one in given)
        assert record["answer"] == usual["answer"]
        unfollowed, cut = record["notes"]
        assert "do not follow the places that were given" in unfollowed
        assert cut == LENGTH_NOTE
        with Image.open(overlay) as drawn:
            assert drawn.convert("RGB").getpixel((20, 30)) == DOT
    with pytest.raises(Exception, match="not both"):
        client.predict(image=handle_file(picture), api_name="/diagnose", look_at=[[0.1, 0.2]], begin_at=[[0.1, 0.2]])
    with pytest.raises(Exception, match="has 257 places, and a path at most"):
        client.predict(image=handle_file(picture), api_name="/diagnose", look_at=[[0.1, 0.2]] * 257)


def test_null_is_what_was_left_out(client: "Client", picture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from gradio_client import handle_file

    usual, _ = client.predict(image=handle_file(picture), api_name="/diagnose")
    names = ("question", "model", "path", "walks", "path_temperature", "path_seed", "text_temperature", "text_seed",
             "look_at", "begin_at")
    record, _ = client.predict(image=handle_file(picture), api_name="/diagnose", **dict.fromkeys(names))
    assert {**record, "seconds": 0} == {**usual, "seconds": 0}
    with pytest.raises(Exception, match="no image yet"):
        client.predict(image=None, api_name="/diagnose")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("walks", "many"), ("walks", 1.5), ("walks", {}), ("path", {"a": 1}), ("path_temperature", "hot"),
     ("path_seed", []), ("text_seed", 10**40), ("text_temperature", True), ("model", ["a"]), ("question", "x" * 5000),
     ("look_at", "0.1,0.2"), ("look_at", [[0.1, 1.0]]), ("look_at", [["a", "b"]]), ("look_at", [[0.1, 0.2, 4e6]]),
     ("begin_at", [[0.1, 0.2, 300, 1]]), ("begin_at", [0.1, 0.2]),
     ("image", "text"), ("image", [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}])],
)  # fmt: skip
def test_a_value_of_another_type_is_one_sentence(
    client: "Client", picture: Path, name: str, value: object, capfd: pytest.CaptureFixture[str]
) -> None:
    from gradio_client import handle_file

    with pytest.raises(Exception, match=r"\.|;") as refused:
        client.predict(api_name="/diagnose", **{"image": handle_file(picture), name: value})
    assert "nobody foresaw" not in str(refused.value)
    assert len(str(refused.value)) < 1500
    assert "Traceback" not in capfd.readouterr().err


def test_hostile_file_gets_the_one_sentence(client: "Client", tmp_path: Path) -> None:
    from gradio_client import handle_file

    (tmp_path / "drawing.png").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(Exception, match=r"This is an SVG drawing, although its name ends in \.png; export it"):
        client.predict(image=handle_file(tmp_path / "drawing.png"), api_name="/diagnose")


def test_file_of_the_server_that_nobody_uploaded_is_refused(client: "Client", picture: Path) -> None:
    stolen = {"path": str(picture), "meta": {"_type": "gradio.FileData"}}
    call = f"{client.src}gradio_api/call/diagnose"
    body = json.dumps({"data": [stolen, "?"]}).encode()
    with urlopen(Request(call, body, {"Content-Type": "application/json"}), timeout=30) as reply:
        event = json.load(reply)["event_id"]
    with urlopen(f"{call}/{event}", timeout=30) as reply:
        answer = reply.read().decode()
    assert "event: error" in answer
    assert "pneumothorax" not in answer


@pytest.mark.parametrize("path", ["README.md", "app.py", "models/gazevlm-nano/config.json", "../shared/design.md"])
def test_no_file_of_the_server_is_served(client: "Client", repository: Path, path: str) -> None:
    with pytest.raises(HTTPError) as error:
        urlopen(f"{client.src}gradio_api/file={repository / path}", timeout=30)
    assert error.value.code in (403, 404)


def test_these_are_all_endpoints_and_their_records_are_typed(client: "Client") -> None:
    api = client.view_api(return_format="dict", print_info=False)
    assert list(api["named_endpoints"]) == ["/diagnose", "/models"]
    assert api["unnamed_endpoints"] == {}
    endpoint = api["named_endpoints"]["/diagnose"]
    names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
    settings = ["model", "path", "walks", "path_temperature", "path_seed", "text_temperature", "text_seed"]
    assert names == ["image", "question", *settings, "look_at", "begin_at"]
    assert endpoint["parameters"][-2]["python_type"]["type"] == "list[list[float | None]]"
    record_type = endpoint["returns"][0]["python_type"]["type"]
    assert "answer: str" in record_type
    assert "patch_index: int" in record_type
    (models,) = api["named_endpoints"]["/models"]["returns"]
    assert "gaze_tokens: int" in models["python_type"]["type"]


def test_models_are_listed_and_asked_by_name(client: "Client", engine: "GazeEngine", picture: Path) -> None:
    from gradio_client import handle_file

    (model,) = client.predict(api_name="/models")
    name = engine.checkpoint.model_id
    assert (model["name"], model["findings"]) == (name, ["cardiomegaly", "pneumothorax"])
    assert model["facts"]["trained on"] == "<b>bold</b> claims"
    record, _ = client.predict(image=handle_file(picture), model=name, api_name="/diagnose")
    assert record["model"] == name
    with pytest.raises(Exception, match=r"no model called .*passwd.*; choose one of: "):
        client.predict(image=handle_file(picture), model="/etc/passwd", api_name="/diagnose")


def test_abandoned_answer_frees_the_model(engine: "GazeEngine") -> None:
    """A reader who leaves in the middle must not block the next one."""
    image = Image.new("RGB", (200, 150))
    abandoned = engine.stream(image)
    next(abandoned)
    next(abandoned)
    closer = threading.Thread(target=abandoned.close)  # Gradio closes from another thread
    closer.start()
    closer.join()
    assert engine.diagnose(image).scanpath is not None
