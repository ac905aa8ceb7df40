"""Which language truths the synthetic world writes, and where each is made. Not here: how they are made, files.

A maker takes the episodes of one split in order and gives rows in the form of the language JSON (lib/data/sources/
language.py) with the video's name under "video". Rows of the first n videos must not depend on how many follow: go through
the episodes in order and draw from each episode's own seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lib.data.world.captions import captions_of
from lib.data.world.events import Episode
from lib.data.world.queries import queries_of
from lib.data.world.questions import answers_of
from lib.data.world.relations import relations_of

Maker = Callable[[list[Episode]], list[dict[str, Any]]]

MAKERS: dict[str, Maker] = {
    "queries": queries_of,
    "relations": relations_of,
    "captions": captions_of,
    "answers": answers_of,
}
"""Key of the language JSON (queries, relations, captions, answers) -> its maker."""
