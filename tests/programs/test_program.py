"""What programs share: refusals as one line, settings as JSON or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.config.base import ConfigError
from lib.files import DataError
from workflow_scripts import _program


def fail_with(error: BaseException) -> None:
    raise error


def test_refusals_are_one_text_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _program.run(lambda: fail_with(DataError("videos/a.mp4: cut. Hint: fetch it again.")))
    assert stopped.value.code == _program.WRONG_INPUT
    assert capsys.readouterr().err == "error: videos/a.mp4: cut. Hint: fetch it again.\n"


def test_settings_come_as_json_or_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"a": 1}')
    assert _program.read_settings('{"a": 1}') == _program.read_settings(str(path)) == {"a": 1}
    path.write_text('{"identity": "f0", "stage": "train", "recipe": 3, "settings": {"a": 1}, "inputs": {}}')
    assert _program.read_settings(str(path)) == {"a": 1, "recipe": 3}, "what made a result"
    with pytest.raises(ConfigError, match=r"--settings .*none\.yaml: there is no such file\. Hint: JSON text"):
        _program.read_settings(str(tmp_path / "none.yaml"))
