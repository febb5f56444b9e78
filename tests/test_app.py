"""The page with all its tabs: the endpoints and tools are those of Diagnose, and no handler of another tab is one."""

from pathlib import Path

from gazevlm_core.inference import GazeEngine


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
