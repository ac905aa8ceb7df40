"""Telling people that a run has ended: what is told, a webhook, a mail. Not here: to whom (lib/config/notify.py).

What goes wrong is told in one line that holds no address: an address may be a secret.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from lib.config.base import VipersightError
from lib.config.leaderboard import Board
from lib.status.failures import Failure

TOP, MOST_BOARDS, MOST_FAILURES = 3, 10, 20
_TRIES, _PAUSE_S = 2, 1.0
_MAIL_S = 30.0
_NAMES = ("variant", "detector", "tracker", "tta")


class NotTold(VipersightError):
    """A notification could not be sent; the text names no address."""


def top_rows(name: str, board: Board, root: Path) -> dict[str, Any] | None:
    """The best rows of a finished board from its csv, None where there is none or it cannot be read."""
    with suppress(OSError, csv.Error, UnicodeDecodeError):
        with open(root / f"results/leaderboards/{board.dataset}/{name}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        metric = str(board.metric)
        keys = [key for key in (*_NAMES, metric, f"{metric}_low", f"{metric}_high", "status") if rows and key in rows[0]]
        return {"name": name, "metric": metric, "rows": [{key: row[key] for key in keys} for row in rows[:TOP]]}
    return None


def message(
    study: str,
    outcome: str,
    *,
    counts: dict[str, int],
    boards: Sequence[dict[str, Any]],
    failures: Iterable[Failure],
    folder: str,
) -> dict[str, Any]:
    """What is told: facts for programs, and `text` for people (chats show that). outcome: success or error."""
    listed = [one.plain() for one in failures]
    facts: dict[str, Any] = {"study": study, "outcome": outcome, "host": socket.gethostname(), "folder": folder}
    facts |= {"trainings": counts, "boards": list(boards[:MOST_BOARDS]), "failures": listed[:MOST_FAILURES]}
    facts["failures_in_all"] = len(listed)
    return facts | {"text": _text(facts)}


def _text(facts: dict[str, Any]) -> str:
    ended = "all that was asked for is made" if facts["outcome"] == "success" else "the run stopped with an error"
    lines = [f"Study {facts['study']}: {ended} ({facts['host']}:{facts['folder']})"]
    if facts["trainings"]:
        lines.append("Trainings: " + ", ".join(f"{number} {name}" for name, number in facts["trainings"].items()))
    for board in facts["boards"]:
        lines.append(f"Board {board['name']}, by {board['metric']}:")
        lines += [f"  {_row(row, board['metric'])}" for row in board["rows"]]
    for one in facts["failures"]:
        lines.append(f"{one['cause']}: {one['stage']} {one['name']}: {one['line']}")
        lines.append(f"  {'retry' if one['retry'] else 'no retry as it is'}; {one['advice']}; log: {one['log']}")
    left = facts["failures_in_all"] - len(facts["failures"])
    return "\n".join([*lines, f"… and {left} more failures"] if left else lines)


def _row(row: dict[str, str], metric: str) -> str:
    name = " · ".join(row[key] for key in _NAMES if row.get(key) and not (key == "tta" and row[key] == "none"))
    if not row.get(metric):
        return f"{name}: {row.get('status') or 'no score'}"
    low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
    return f"{name}: {_short(row[metric])}" + (f" ({_short(low)} to {_short(high)})" if low and high else "")


def _short(number: str) -> str:
    try:
        return f"{float(number):.3f}"
    except ValueError:
        return number


def post(webhook: str, facts: dict[str, Any], timeout_s: float) -> None:
    """POST the facts as JSON; NotTold when that fails, after a second try. webhook: may hold $VARIABLES."""
    import httpx

    url = filled(webhook)
    for left in reversed(range(_TRIES)):
        try:
            answer = httpx.post(url, json=facts, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            cause = type(error).__name__
        else:
            if answer.is_success:
                return
            cause = f"HTTP {answer.status_code}"
            if answer.status_code < 500:  # the same again would be refused again
                break
        if left:
            time.sleep(_PAUSE_S)
    raise NotTold(f"notify.webhook: was not told ({cause}). Hint: is its address right, and open to this host?")


def filled(webhook: str) -> str:
    """The address with its $VARIABLES filled in; NotTold names one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise NotTold(f"notify.webhook: the variable {name} is not set. Hint: export {name}=…")
        return os.environ[name]

    url = re.sub(r"\$(?:\{([A-Z][A-Z0-9_]*)\}|([A-Z][A-Z0-9_]*))", value, webhook)
    if not re.match(r"https?://[^/\s]+", url):
        raise NotTold("notify.webhook: must be an http:// or https:// address once its variables are filled in.")
    return url


def send_mail(address: str, subject: str, text: str) -> None:
    """Hand a mail to this machine's sendmail or mail; NotTold when there is neither, or it refuses."""
    sendmail = shutil.which("sendmail") or shutil.which("sendmail", path="/usr/sbin:/usr/lib")
    mail = EmailMessage()
    mail["To"], mail["Subject"] = address, subject
    mail.set_content(text)
    if sendmail:
        words, given = [sendmail, "-t", "-oi"], mail.as_bytes()
    elif program := shutil.which("mail"):
        words, given = [program, "-s", subject, address], text.encode()
    else:
        raise NotTold("notify.mail: this machine has no `sendmail` and no `mail`. Hint: install one, or use `webhook`.")
    try:
        done = subprocess.run(words, input=given, capture_output=True, timeout=_MAIL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotTold(f"notify.mail: {Path(words[0]).name} did not take it ({type(error).__name__}).") from error
    if done.returncode:
        raise NotTold(f"notify.mail: {Path(words[0]).name} ended with {done.returncode}.")
