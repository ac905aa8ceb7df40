"""Fetching, against a real http server on this machine and a mirror folder; the reference is every file's sha256."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib.config.download import FileEntry
from lib.data import fetch as fetch_module
from lib.data.fetch import fetch, read_file_table
from lib.files import DataError

PAGES = {"/a.bin": b"a" * 100_000, "/b.bin": b"bb", "/busy.bin": b"late"}


class _Server(ThreadingHTTPServer):
    asked: Counter[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        busy = self.path == "/busy.bin" and self.server.asked[self.path] == 1
        body = PAGES.get(self.path)
        self.send_response(503 if busy else 404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch) -> Iterator[_Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = _Server(("127.0.0.1", 0), _Handler)
    served.asked = Counter()
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def entry(server: _Server, name: str, path: str = "", **changes: object) -> FileEntry:
    digest = hashlib.sha256(PAGES.get(f"/{name}", b"")).hexdigest()
    values = {"path": path or name, "url": f"http://127.0.0.1:{server.server_port}/{name}", "sha256": digest}
    return FileEntry.model_validate(values | changes)


def go(tmp_path: Path, files: list[FileEntry], *, mirror: Path | None = None, on_missing: str = "fail") -> dict[str, str]:
    found = fetch(
        files, tmp_path / "raw", mirror=mirror, on_missing=on_missing, workers=2, status_file=tmp_path / "status.json"
    )
    return {status.path: status.status for status in found}


def test_downloads_then_keeps(tmp_path, server):
    files = [entry(server, "a.bin", "deep/a.bin", bytes=100_000), entry(server, "b.bin")]
    assert go(tmp_path, files) == {"deep/a.bin": "downloaded", "b.bin": "downloaded"}
    assert (tmp_path / "raw" / "deep" / "a.bin").read_bytes() == PAGES["/a.bin"]
    assert go(tmp_path, files) == {"deep/a.bin": "kept", "b.bin": "kept"}
    assert server.asked == {"/a.bin": 1, "/b.bin": 1}
    rows = json.loads((tmp_path / "status.json").read_text())
    assert [(row["path"], row["status"], row["bytes"]) for row in rows] == [
        ("deep/a.bin", "kept", 100_000),
        ("b.bin", "kept", 2),
    ]


def test_a_damaged_file_is_fetched_again(tmp_path, server):
    go(tmp_path, [entry(server, "b.bin")])
    (tmp_path / "raw" / "b.bin").write_bytes(b"bX")
    assert go(tmp_path, [entry(server, "b.bin")]) == {"b.bin": "downloaded"}
    assert (tmp_path / "raw" / "b.bin").read_bytes() == b"bb"


def test_what_is_remembered_is_not_read_again(tmp_path, server, monkeypatch):
    go(tmp_path, [entry(server, "a.bin")])
    read: list[Path] = []
    monkeypatch.setattr(fetch_module, "sha256_file", lambda path: read.append(path) or "")
    assert go(tmp_path, [entry(server, "a.bin")]) == {"a.bin": "kept"} and not read


def test_other_bytes_are_refused_whatever_on_missing_says(tmp_path, server):
    wrong = entry(server, "b.bin", sha256="0" * 64)
    got = hashlib.sha256(b"bb").hexdigest()
    with pytest.raises(DataError, match=f"b.bin: sha256 expected {'0' * 64}, got {got}"):
        go(tmp_path, [wrong], on_missing="skip")
    assert not any((tmp_path / "raw").iterdir())
    with pytest.raises(DataError, match="more than the stated 50 bytes"):
        go(tmp_path, [entry(server, "a.bin", bytes=50)])


def test_missing_files_fail_by_name_or_are_counted(tmp_path, server):
    files = [entry(server, "b.bin"), entry(server, "gone.bin"), entry(server, "lost.bin")]
    with pytest.raises(DataError, match=r"2 of 3 files(?s:.*)gone\.bin(?s:.*)answered 404(?s:.*)lost\.bin"):
        go(tmp_path, files)
    assert go(tmp_path, files, on_missing="skip") == {"b.bin": "kept", "gone.bin": "missing", "lost.bin": "missing"}
    assert "404" in json.loads((tmp_path / "status.json").read_text())[1]["cause"]


def test_a_busy_server_is_asked_again(tmp_path, server):
    assert go(tmp_path, [entry(server, "busy.bin")]) == {"busy.bin": "downloaded"}
    assert server.asked["/busy.bin"] == 2


def test_the_mirror_is_referenced_by_path_name_and_sha256(tmp_path, server):
    mirror = tmp_path / "mirror"
    for place, body in {"x/img/b.bin": b"other", "y/b.bin": b"bb", "z/a.bin": b"same name, other bytes"}.items():
        (mirror / place).parent.mkdir(parents=True)
        (mirror / place).write_bytes(body)
    files = [entry(server, "b.bin", "img/b.bin"), entry(server, "a.bin")]
    assert go(tmp_path, files, mirror=mirror) == {"img/b.bin": "mirror", "a.bin": "downloaded"}
    link = tmp_path / "raw" / "img" / "b.bin"
    assert link.is_symlink() and link.resolve() == mirror / "y" / "b.bin"
    assert server.asked == {"/a.bin": 1}
    assert go(tmp_path, files, mirror=mirror) == {"img/b.bin": "kept", "a.bin": "kept"}
    with pytest.raises(DataError, match="VIPERSIGHT_MIRROR"):
        go(tmp_path, files, mirror=tmp_path / "nowhere")


def test_tables_of_files_name_the_bad_line(tmp_path):
    table = tmp_path / "t.csv"
    good = f"a.jpg,https://example.org/a.jpg,{'0' * 64},12\n"
    table.write_text(f"path,url,sha256,bytes\n{good}b.jpg,https://example.org/b.jpg,{'1' * 64},\n")
    assert [(one.path, one.bytes) for one in read_file_table(table)] == [("a.jpg", 12), ("b.jpg", None)]
    table.write_text(f"path,url,sha256,bytes\n{good}../b.jpg,https://example.org/b.jpg,{'1' * 64},\n")
    with pytest.raises(DataError, match=r"t\.csv:3: path"):
        read_file_table(table)
    table.write_text(f"path,url,sha256,bytes\n{good}{good}")
    with pytest.raises(DataError, match=r"t\.csv:3: 'a\.jpg' is listed twice"):
        read_file_table(table)
    table.write_text("path,address\n")
    with pytest.raises(DataError, match="needs the columns"):
        read_file_table(table)
