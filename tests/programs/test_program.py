"""What programs share: refusals as one line, attempts kept and summed, causes that a retry cannot heal."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.config.base import ConfigError
from lib.files import DataError, read_json
from workflow_scripts import _program


def fail_with(error: BaseException) -> None:
    raise error


def test_refusals_are_one_text_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _program.run(lambda: fail_with(DataError("videos/a.mp4: cut. Hint: fetch it again.")))
    assert stopped.value.code == _program.WRONG_INPUT
    assert capsys.readouterr().err == "error: videos/a.mp4: cut. Hint: fetch it again.\n"


def test_attempts_are_kept_and_summed_per_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), _program.attempt(tmp_path, "same"):
        raise RuntimeError("node lost")
    with _program.attempt(tmp_path, "same") as attempt:
        attempt.keep(steps=7)
    with _program.attempt(tmp_path, "other settings"):
        pass
    first, second = (read_json(tmp_path / "attempts" / f"{n}.json") for n in (1, 2))
    assert (first["cause"], first["error"]) == ("error", "node lost")
    assert (second["cause"], second["steps"]) == ("finished", 7)
    assert _program.attempts_so_far(tmp_path, "same")["attempts"] == 2
    assert _program.attempts_so_far(tmp_path, "other settings")["attempts"] == 1


@pytest.mark.parametrize(("error", "again"), [(ConfigError("x"), False), (DataError("x"), False), (OSError("x"), True)])
def test_a_retry_of_the_same_run_ends_at_once_after_a_cause_that_repeats(
    tmp_path: Path, error: Exception, again: bool
) -> None:
    with pytest.raises(type(error)), _program.attempt(tmp_path, "f"):
        raise error
    if again:
        with _program.attempt(tmp_path, "f", number_in_run=2):
            pass
    else:
        with pytest.raises(_program.EarlierAttemptFinal), _program.attempt(tmp_path, "f", number_in_run=2):
            pass
    with _program.attempt(tmp_path, "f", number_in_run=1):
        pass  # a new run always tries again


def test_settings_come_as_json_or_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"a": 1}')
    assert _program.read_settings('{"a": 1}') == _program.read_settings(str(path)) == {"a": 1}
