"""Downloads from a server that misbehaves in every way known to us. Reference: the body that the server holds."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lib.config.base import ConfigError
from lib.config.download import Downloads, FileEntry
from lib.data import transfer
from lib.data.fetch import fetch
from lib.files import DataError
from tests.faults.counts import Tally
from tests.faults.server import BODY, SHA256, Server

KIND = "downloads"
LIMITS = Downloads(pause_s=0.01, stall_s=0.4, tries=3, max_gb=0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    served = Server()
    yield served
    served.shutdown()
    served.server_close()


def go(tmp_path: Path, url: str, *, limits: Downloads = LIMITS, on_missing: str = "fail", **entry: object) -> bytes:
    file = FileEntry.model_validate({"path": "file.bin", "url": url, "sha256": SHA256} | entry)
    status = tmp_path / "status.json"
    raw = tmp_path / "raw"
    fetch([file], raw, mirror=None, on_missing=on_missing, workers=1, status_file=status, limits=limits)
    return (raw / file.path).read_bytes()


RIGHT = [
    "honest",
    "cut_once",
    "cut_always",
    "cut_no_validator",
    "cut_no_length",
    "reset",
    "stalls_once",
    "ignores_range",
    "other_range",
    "no_range_told",
    "lying_range",
    "no_more",
    "changes_to_right",
    "changes_silently",
    "busy_once",
    "too_often_once",
    "to_honest",
]
REFUSED = {
    "cut_at_nothing": "(3 tries)",
    "stalls_always": "ReadTimeout",
    "drips": "stalls: ",
    "unasked_part": "got ",
    "changes_to_wrong": "sha256 expected",
    "wrong": "sha256 expected",
    "too_long": "sha256 expected",
    "too_long_unsaid": "sha256 expected",
    "too_short": "sha256 expected",
    "says_less": "sha256 expected",
    "says_more": "(3 tries)",
    "says_10_tb": "more than 0.001 GB. Hint: raise `downloads.max_gb`",
    "says_minus": "RemoteProtocolError",
    "endless": "more than 0.001 GB",
    "empty": "sha256 expected",
    "page": "serves a web page ('Please sign in'), not the file. Hint: a page that asks for a login",
    "page_as_bytes": "serves a web page ('Please sign in')",
    "page_later": "serves a web page",
    "packed": "sha256 expected",
    "forbidden": "answered 403",
    "gone": "answered 410",
    "broken": "answered 500 (3 tries)",
    "no_content": "answered 204",
    "garbage": "RemoteProtocolError",
    "long_head": "(3 tries)",
    "to_file": "redirects to file:, which is refused",
    "to_ftp": "redirects to ftp:, which is refused",
    "to_data": "redirects to data:, which is refused",
    "to_unix": "redirects to unix:, which is refused",
    "to_itself": "leads elsewhere (TooManyRedirects)",
    "to_nowhere": "(3 tries)",
}


@pytest.mark.parametrize("stated", [None, len(BODY)], ids=["size unknown", "size stated"])
@pytest.mark.parametrize("mode", RIGHT)
def test_what_can_be_had_is_had_whole(tmp_path: Path, server: Server, tally: Tally, mode: str, stated: int | None) -> None:
    got = go(tmp_path, server.url(mode), bytes=stated)
    tally.right(KIND, got == BODY, mode)
    assert os.listdir(tmp_path / "raw") == ["file.bin"], "no partial file is left"


@pytest.mark.parametrize("mode", REFUSED)
def test_what_is_not_the_file_is_refused(tmp_path: Path, server: Server, tally: Tally, mode: str) -> None:
    begun = time.monotonic()
    tally.refused(KIND, lambda: go(tmp_path, server.url(mode)), "file.bin", REFUSED[mode])
    assert not (tmp_path / "raw" / "file.bin").exists()
    assert time.monotonic() - begun < 8


def test_a_stated_size_ends_a_longer_answer_at_once(tmp_path: Path, server: Server, tally: Tally) -> None:
    for mode in ("too_long", "endless"):
        tally.refused(
            KIND, lambda mode=mode: go(tmp_path, server.url(mode), bytes=len(BODY)), "more than the stated 300000 bytes"
        )
    assert server.asked == {"too_long": 1, "endless": 1}, "not asked again"


def test_only_the_rest_is_fetched(tmp_path: Path, server: Server) -> None:
    assert go(tmp_path, server.url("cut_once")) == BODY
    assert server.sent["cut_once"] == len(BODY) and server.asked["cut_once"] == 2
    assert "Range: bytes=100000-" in server.seen[1] and 'If-Range: "v1"' in server.seen[1]


def test_refusals_that_will_not_change_are_not_asked_again(tmp_path: Path, server: Server) -> None:
    for mode in ("forbidden", "gone", "page", "wrong", "to_file"):
        with pytest.raises(DataError):
            go(tmp_path, server.url(mode))
        assert server.asked[mode] == 1, mode


@pytest.mark.slow
def test_a_killed_download_goes_on_inside_the_file(tmp_path: Path, server: Server, tally: Tally) -> None:
    program = (
        "import sys; from pathlib import Path; from lib.config.download import *; from lib.data.fetch import fetch\n"
        "entry = FileEntry(path='file.bin', url=sys.argv[1], sha256=sys.argv[2])\n"
        "fetch([entry], Path(sys.argv[3]), mirror=None, on_missing='fail', workers=1, status_file=Path(sys.argv[4]))\n"
    )
    words = [
        sys.executable,
        "-c",
        program,
        server.url("stalls_once"),
        SHA256,
        str(tmp_path / "raw"),
        str(tmp_path / "s.json"),
    ]
    child = subprocess.Popen(words)
    end = time.monotonic() + 20
    while server.sent["stalls_once"] == 0 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    child.send_signal(signal.SIGKILL)
    child.wait()
    part = next(path for path in (tmp_path / "raw").glob(".partial-*") if path.suffix != ".json")
    kept = part.stat().st_size
    assert go(tmp_path, server.url("stalls_once")) == BODY
    tally.right(KIND, kept > 0 and f"Range: bytes={kept}-" in server.seen[1], "the killed part is used")


def test_secrets_of_an_address_are_never_told(
    tmp_path: Path, server: Server, monkeypatch, capfd, caplog, tally: Tally
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-canary")
    for mode in ("broken", "wrong", "page", "cut_at_nothing", "to_file", "forbidden"):
        tally.refused(
            KIND, lambda mode=mode: go(tmp_path, server.url(mode) + "?token=$MY_TOKEN&v=1"), f"/{mode}/file.bin?…"
        )
    assert go(tmp_path, server.url("honest") + "?token=${MY_TOKEN}") == BODY
    assert all("token=s3cr3t-canary" in head for head in server.seen), "the server does get it"
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != "file.bin"]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("lib", "workflow"))]
    told = "".join([*written, *ours, *capfd.readouterr()])
    tally.right("secrets", "s3cr3t-canary" not in told)


@pytest.mark.parametrize(
    "url", ["https://me:canary@h.org/f", "https://h.org/f?token=canary", "https://h.org/f?a=1&X-Amz-Signature=canary"]
)
def test_a_secret_in_the_settings_is_refused_without_repeating_it(tmp_path: Path, tally: Tally, url: str) -> None:
    from lib.config.study import load_study

    study = tmp_path / "s.yaml"
    study.write_text(
        "study: s\nweights: {w: {url: '" + url + "', sha256: " + SHA256 + "}}\n"
        "datasets: {d: {source: {format: folder, files: [{path: a.mp4, url: '" + url + "', sha256: " + SHA256 + "}]}}}\n"
    )
    text = tally.refused("secrets", lambda: load_study([study], {}), "holds a secret. Hint: name an environment variable")
    assert "canary" not in text


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, server: Server, tally: Tally) -> None:
    tally.refused(KIND, lambda: go(tmp_path, server.url("honest") + "?token=$NO_SUCH_VARIABLE"), "needs $NO_SUCH_VARIABLE")


def test_proxies_of_the_environment_are_used(tmp_path: Path, server: Server, monkeypatch, tally: Tally) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    tally.right(KIND, go(tmp_path, "http://data.example.invalid/file.bin") == BODY)
    assert server.seen[0].startswith("GET http://data.example.invalid/file.bin")


@pytest.mark.parametrize(
    ("start", "target", "allowed"),
    [
        ("https://example.org/f", "http://example.org/f", False),
        ("https://example.org/f", "https://127.0.0.1/f", False),
        ("https://example.org/f", "https://169.254.169.254/latest/meta-data", False),
        ("https://example.org/f", "https://[::1]/f", False),
        ("https://example.org/f", "https://localhost:8080/f", False),
        ("https://example.org/f", "https://10.0.0.7/f", False),
        ("https://example.org/f", "https://metadata.google.internal/f", False),
        ("https://example.org/f", "https://cdn.example.net/f", True),
        ("http://10.0.0.7/f", "http://10.0.0.8/f", True),
    ],
)
def test_redirects_into_private_networks_are_refused(tally: Tally, start: str, target: str, allowed: bool) -> None:
    answer = httpx.Response(302, headers={"Location": target}, request=httpx.Request("GET", start))
    try:
        transfer._refuse_bad_redirect(answer)
        followed = True
    except transfer.NotThere:
        followed = False
    tally.count(KIND, "wrong" if followed != allowed else "right" if allowed else "refused")
    assert followed == allowed


def test_two_processes_do_not_write_one_file(tmp_path: Path, server: Server, tally: Tally) -> None:
    import fcntl

    with pytest.raises(DataError):
        go(tmp_path, server.url("says_more"))
    part = next(path for path in (tmp_path / "raw").glob(".partial-*") if path.suffix != ".json")
    with open(part, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        tally.refused(KIND, lambda: go(tmp_path, server.url("says_more")), "another process is downloading into it")


def test_missing_files_can_be_left_out_wrong_ones_not(tmp_path: Path, server: Server) -> None:
    with pytest.raises(FileNotFoundError):
        go(tmp_path, server.url("page"), on_missing="skip")
    with pytest.raises(DataError, match="sha256 expected"):
        go(tmp_path, server.url("wrong"), on_missing="skip")


def test_limits_are_settings_and_reach_the_program(monkeypatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_DOWNLOADS", '{"max_gb": 2, "tries": 7}')
    assert (Downloads.of_this_run().max_gb, Downloads.of_this_run().tries) == (2, 7)
    with pytest.raises(ConfigError):
        from lib.config.study import load_study

        load_study([], {"downloads": {"max_gb": -1}})
