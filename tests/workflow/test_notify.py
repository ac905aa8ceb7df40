"""What a run tells when it has ended: real servers that listen, answer badly or hang; real Snakemake; a mail program."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.config.base import ConfigError
from lib.config.leaderboard import Board
from lib.config.study import load_study
from lib.runs import notifying
from lib.runs.notifying import NotTold, message, post, send_mail, top_rows
from tests.conftest import PROJECT
from tests.workflow.conftest import TINY, Tree


class Listener(ThreadingHTTPServer):
    """told: the JSON of every POST; code: what it answers; sleep_s: how long it waits before."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Post)
        self.told: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.code, self.sleep_s = 200, 0.0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str = "hook") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Post(BaseHTTPRequestHandler):
    server: Listener

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.sleep_s)
        self.server.told.append(json.loads(body))
        self.server.paths.append(self.path)
        self.send_response(self.server.code)
        self.end_headers()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.shutdown()
    server.server_close()


def studied(**notify: Any) -> dict[str, Any]:
    return {"study": "told", "notify": notify}


def loaded(tmp_path: Path, values: dict[str, Any]) -> Any:
    path = tmp_path / "told.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study([path])


# Settings


@pytest.mark.parametrize(
    "url", ["$RUN_HOOK", "${RUN_HOOK}", "https://chat.example.org/hooks/$HOOK_ID", "http://127.0.0.1:8080/hook"]
)
def test_addresses_that_hold_no_secret(tmp_path: Path, url: str) -> None:
    study = loaded(tmp_path, studied(webhook=url))
    assert study.notify.webhook == url and study.notify.wanted


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdEFGH1234ijklMNOP5678",
        "https://discord.com/api/webhooks/123456789012345678/aB3-xyz_abcdefghijklmnop",
        "https://user:pw@example.org/hook",
        "https://example.org/hook?token=abc",
    ],
)
def test_a_secret_in_plain_letters_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"notify\.webhook: .* secret") as refused:
        loaded(tmp_path, studied(webhook=url))
    assert not any(part in str(refused.value) for part in ("abcdEFGH", "aB3-xyz", "pw@", "=abc"))
    with pytest.raises(ConfigError, match=r"with notify\.webhook=…\nnotify\.webhook: .* secret"):
        load_study([], {"set": f"notify.webhook='{url}'"})


@pytest.mark.parametrize(
    "wrong",
    [{"webhook": "ftp://x"}, {"webhook": ""}, {"mail": "-oQ/tmp"}, {"mail": "a@b, c@d"}, {"mail": "a@b\nBcc: c@d"},
     {"timeout_seconds": 0}, {"web_hook": "$X"}],
)  # fmt: skip
def test_wrong_settings_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="notify"):
        loaded(tmp_path, studied(**wrong))


def test_it_is_off_by_default_and_part_of_nothing(tmp_path: Path) -> None:
    study = loaded(tmp_path, {"study": "told"})
    assert not study.notify.wanted
    told = loaded(tmp_path, studied(webhook="$RUN_HOOK", mail="me@example.org"))
    assert told.model_dump() == study.model_dump() and told.site() == study.site(), "neither shown nor handed to jobs"


# Telling


def test_the_post_and_what_it_holds(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_ID", "s3cr3t")
    board = {
        "name": "main",
        "metric": "AP50",
        "rows": [{"variant": "a", "tta": "none", "AP50": "0.7639", "status": "finished"}],
    }
    facts = message("told", "success", counts={"completed": 3}, boards=[board], failures=[], folder="/x")
    post(f"{listener.url()}/$HOOK_ID", facts, 5.0)
    assert listener.paths == ["/hook/s3cr3t"] and listener.told == [facts]
    assert facts["text"].splitlines()[1:] == ["Trainings: 3 completed", "Board main, by AP50:", "  a: 0.764"]


@pytest.mark.parametrize("code", [400, 404, 500])
def test_a_refusal_is_told_without_the_address(listener: Listener, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(notifying, "_PAUSE_S", 0.01)
    listener.code = code
    with pytest.raises(NotTold, match=f"HTTP {code}") as refused:
        post(listener.url("s3cr3t"), {}, 5.0)
    assert "s3cr3t" not in str(refused.value) and "127.0.0.1" not in str(refused.value)
    assert len(listener.told) == (2 if code >= 500 else 1)


def test_a_server_that_hangs_or_is_not_there(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_PAUSE_S", 0.01)
    listener.sleep_s = 20.0
    begun = time.monotonic()
    with pytest.raises(NotTold, match="ReadTimeout"):
        post(listener.url(), {}, 0.3)
    assert time.monotonic() - begun < 5
    with pytest.raises(NotTold, match="ConnectError"):
        post("http://127.0.0.1:9/s3cr3t", {}, 1.0)
    with pytest.raises(NotTold, match="the variable NO_SUCH_HOOK is not set"):
        post("$NO_SUCH_HOOK", {}, 1.0)
    monkeypatch.setenv("RUN_HOOK", "s3cr3t")
    with pytest.raises(NotTold, match="must be an http"):
        post("$RUN_HOOK", {}, 1.0)


def test_a_board_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    board = Board.model_validate({"dataset": "site", "variants": ["a"], "metric": "AP50"})
    assert top_rows("main", board, tmp_path) is None
    path = tmp_path / "results/leaderboards/site/main.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x00")
    assert top_rows("main", board, tmp_path) is None
    path.write_text("rank,variant,tta,AP50,status\n" + "".join(f"{n},v{n},none,0.{n},finished\n" for n in range(1, 6)))
    found = top_rows("main", board, tmp_path)
    assert found is not None and [row["variant"] for row in found["rows"]] == ["v1", "v2", "v3"]


def test_a_mail_through_this_machine_s_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        notifying.shutil, "which", lambda name, path=None: str(tmp_path / name) if (tmp_path / name).exists() else None
    )
    with pytest.raises(NotTold, match="no `sendmail` and no `mail`"):
        send_mail("me@example.org", "told: success", "text")
    for name in ("mail", "sendmail"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$@" > "{tmp_path}/{name}.words"\n/bin/cat > "{tmp_path}/{name}.text"\n'
        )
        (tmp_path / name).chmod(0o755)
        send_mail("me@example.org", "told: success", "Zeile ä")
    assert (tmp_path / "mail.words").read_text().split() == ["-s", "told:", "success", "me@example.org"]
    assert "Zeile ä" in (tmp_path / "mail.text").read_text()
    assert (tmp_path / "sendmail.words").read_text().split() == ["-t", "-oi"]
    assert "To: me@example.org\nSubject: told: success\n" in (tmp_path / "sendmail.text").read_text()
    (tmp_path / "sendmail").write_text("#!/bin/sh\nexit 75\n")
    with pytest.raises(NotTold, match="sendmail ended with 75"):
        send_mail("me@example.org", "told: success", "text")


# Real runs

MADE, FAILS = "results/videos/site/manifest.parquet", "results/weights/w/weights.json"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A study whose videos can be made in seconds, and whose weights nobody serves."""
    study = copy.deepcopy(TINY)
    study["datasets"]["site"]["source"]["videos"] = {"detector": 1, "train": 1, "val": 1, "test": 1}
    study["weights"]["w"] = {"url": "http://127.0.0.1:9/w.pt", "sha256": "0" * 64}
    study["downloads"] = {"tries": 1, "pause_s": 0.01}
    study["notify"] = {"webhook": "$RUN_HOOK", "timeout_seconds": 2}
    folder = tmp_path / "work"
    folder.mkdir()
    return Tree(folder, study)


@pytest.mark.slow
def test_runs_that_succeed_and_fail_tell_it_and_keep_their_exit_code(
    tree: Tree, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIPERSIGHT_MIRROR", raising=False)
    monkeypatch.setenv("RUN_HOOK", listener.url("s3cr3t"))
    assert tree.snakemake("--", MADE).returncode == 0
    failed = tree.snakemake("--", FAILS, check=False)
    assert failed.returncode == 1
    assert [one["outcome"] for one in listener.told] == ["success", "error"] and set(listener.paths) == {"/s3cr3t"}
    (failure,) = listener.told[1]["failures"]
    assert (failure["stage"], failure["cause"], failure["retry"]) == ("weights", "network", True)
    assert failure["log"] == "results/logs/weights/w.log" and (tree.folder / failure["log"]).is_file()
    assert "network: weights weights/w/weights.json: " in listener.told[1]["text"]
    assert "Study tiny: all that was asked for is made" in listener.told[0]["text"]

    def unmade() -> None:
        (tree.folder / MADE).unlink()

    listener.code = 500
    tree.snakemake("--", MADE)
    assert len(listener.told) == 2, "nothing was done, nobody is told"
    unmade()
    done = tree.snakemake("--", MADE)
    assert done.returncode == 0 and "notify.webhook: was not told (HTTP 500)" in done.stderr
    monkeypatch.setenv("RUN_HOOK", "http://127.0.0.1:9/s3cr3t")
    assert tree.snakemake("--", FAILS, check=False).returncode == 1
    monkeypatch.delenv("RUN_HOOK")
    unmade()
    done = tree.snakemake("--", MADE)
    assert done.returncode == 0 and "the variable RUN_HOOK is not set" in done.stderr
    dry = tree.snakemake("-n", "--", MADE)
    assert "notify" not in dry.stderr, "a plan tells nobody"
    for path in [*tree.folder.rglob("results/**/*"), *tree.folder.glob(".snakemake/**/*")]:
        if path.is_file() and path.suffix not in (".mp4", ".parquet"):
            text = path.read_text(errors="replace")
            assert "s3cr3t" not in text, f"{path} holds the secret"
    assert "RUN_HOOK" not in (tree.folder / "results/run_config.yaml").read_text()


@pytest.mark.slow
def test_what_the_finished_study_would_tell(finished: Tree) -> None:
    words = [sys.executable, "-m", "workflow_scripts.notify", "--outcome", "success", "--print", "--directory"]
    words += [str(finished.folder), "--configfile", str(finished.settings)]
    done = subprocess.run(words, cwd=PROJECT, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    assert {one["name"] for one in facts["boards"]} == {"main", "floors", "followed"}
    assert facts["trainings"] == {"completed": len(facts["text"]) and sum(facts["trainings"].values())}
    assert all(0 < len(one["rows"]) <= 3 for one in facts["boards"])
