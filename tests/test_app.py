"""The page with all its tabs: the endpoints and tools are those of Diagnose, and no handler of another tab is one."""

import shutil
from pathlib import Path
from types import SimpleNamespace

from gazevlm_core.inference import GazeEngine
from tests.adapter_maker import make_adapter


def test_only_diagnose_has_endpoints(tiny_checkpoint: Path, tiny_engine: GazeEngine, tmp_path: Path) -> None:
    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from annotate.settings import AnnotateSettings
    from app import build_app, heads
    from diagnose.catalogue import Catalogue
    from finetune.opening import open_adapting

    teaching = open_teaching(AnnotateSettings(folder=tmp_path))
    engines = {str(tiny_checkpoint): tiny_engine}
    submissions = StoreTrainingData(teaching.store)
    adapting = open_adapting(tmp_path, tmp_path / "adapters", teaching.gate, submissions, engines)
    page = build_app(Catalogue(engines), teaching, adapting.service)
    teaching.close()
    offered = page.get_api_info()
    assert list(offered["named_endpoints"]) == ["/diagnose", "/models"]
    assert offered["unnamed_endpoints"] == {}
    public = [call.api_name for call in page.fns.values() if call.api_visibility == "public"]
    assert sorted(map(str, public)) == ["diagnose", "models"], "MCP tools are made of these"
    assert len(page.fns) > 30, "the handlers of the other tabs are there"
    assert len(heads()) == 4


def test_every_tab_opens_while_the_folder_of_the_usual_adapter_is_gone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from annotate.settings import AnnotateSettings
    from app import build_app
    from diagnose.catalogue import Catalogue
    from finetune.opening import open_adapting

    teaching = open_teaching(AnnotateSettings(folder=tmp_path))
    engines = {str(tiny_checkpoint): GazeEngine.load(str(tiny_checkpoint), device="cpu")}
    submissions = StoreTrainingData(teaching.store)
    adapting = open_adapting(tmp_path, tmp_path / "adapters", teaching.gate, submissions, engines)
    folder = make_adapter(tiny_checkpoint, tmp_path / "adapters" / "mine")
    catalogue = Catalogue(engines, adapter=folder, adapters=folder.parent)
    page = build_app(catalogue, teaching, adapting.service)
    adapted, bare = catalogue.choices()

    def opened() -> list[str]:
        """The models that the pickers of Diagnose and Evaluate show when the page is opened."""
        shown = []
        for call in page.fns.values():
            pickers = [part for part in call.outputs if part.elem_id in ("model", "evaluate-model")]
            if pickers and any(event == "load" for _, event in call.targets):
                values = call.fn(*[SimpleNamespace(query_params={})] * (call.name == "opened"))
                shown.append(values[pickers[0]].value)
        return shown

    assert opened() == [adapted, adapted]
    shutil.rmtree(folder)
    assert opened() == [bare, bare]
    build_app(catalogue, teaching, adapting.service)
    teaching.close()
