"""Settings of the page: what is read from the environment, and what is refused."""

from pathlib import Path

import pytest

from diagnose.settings import Settings, SettingsError


def test_nothing_set_is_the_default() -> None:
    assert Settings.from_environment({}) == Settings((), None, None, False)
    empty = dict.fromkeys(("GAZEVLM_MODEL", "GAZEVLM_ADAPTER", "GAZEVLM_ADAPTERS", "GAZEVLM_MCP"), " ")
    assert Settings.from_environment(empty) == Settings()


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    values = {
        "GAZEVLM_MODEL": f"Qwen/Qwen2.5-VL-3B-Instruct, gazevlm-nano,{tmp_path}",
        "GAZEVLM_ADAPTER": str(tmp_path / "one"),
        "GAZEVLM_ADAPTERS": str(tmp_path),
        "GAZEVLM_MCP": "1",
    }
    models = ("Qwen/Qwen2.5-VL-3B-Instruct", "gazevlm-nano", str(tmp_path))
    assert Settings.from_environment(values) == Settings(models, tmp_path / "one", tmp_path, True)


@pytest.mark.parametrize(
    "values",
    [
        {"GAZEVLM_MODEL": "./nowhere"}, {"GAZEVLM_MODEL": "gazevlm-nano,~/nowhere"}, {"GAZEVLM_ADAPTER": "nowhere"},
        {"GAZEVLM_ADAPTERS": "nowhere"}, {"GAZEVLM_MCP": "yes"}, {"GAZEVLM_MODEL": "a/nano, b/nano"},
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))) as error:
        Settings.from_environment(values)
    assert "\n" not in str(error.value)
