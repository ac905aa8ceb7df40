"""`notify:` — who is told when a run has ended: a webhook, a mail address. Not here: telling them (lib/runs/notifying.py).

Never part of a result, nor of results/run_config.yaml. An address may hold $VARIABLES, which are filled in when it is
used; one that holds a secret in plain letters is refused.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from lib.config.base import Section
from lib.config.download import checked_url

_VARIABLE = r"\$(?:\{[A-Z][A-Z0-9_]*\}|[A-Z][A-Z0-9_]*)"
_LIKE_A_SECRET = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,}")
_ADDRESS = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]*@[A-Za-z0-9.-]+")


class Notify(Section):
    """Who is told when a run has ended, well or not; nobody unless it says so. Failing to tell changes no exit code."""

    webhook: str | None = Field(
        None,
        description="http(s) address that gets a POST with JSON (`text` for chats, and facts). A secret in it is refused: "
        "put the address into an environment variable and write `$RUN_HOOK`.",
    )
    mail: str | None = Field(None, description="Address that gets a mail, through this machine's `sendmail` or `mail`.")
    timeout_seconds: float = Field(10.0, gt=0, le=60, description="Seconds that telling may take before it is given up.")

    @property
    def wanted(self) -> bool:
        return self.webhook is not None or self.mail is not None

    @field_validator("webhook")
    @classmethod
    def _address_without_secret(cls, url: str | None) -> str | None:
        if url is None or re.fullmatch(_VARIABLE, url):
            return url
        plain = re.sub(_VARIABLE, "$V", url)
        if "//" in plain and _LIKE_A_SECRET.search(plain.split("//", 1)[1].partition("/")[2]):
            text = "this address holds what looks like a secret. Hint: export RUN_HOOK=…, and `webhook: $RUN_HOOK`"
            raise PydanticCustomError("secret", "{text}", {"text": text})
        return checked_url(url) and url

    @field_validator("mail")
    @classmethod
    def _one_address(cls, address: str | None) -> str | None:
        if address is not None and not _ADDRESS.fullmatch(address):
            raise ValueError("must be one address such as name@example.org")
        return address
