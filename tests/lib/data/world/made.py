"""Episodes for tests: worlds simulated and looked at without writing files, each once per run."""

from __future__ import annotations

from functools import cache
from typing import Any

from lib.config.world import WorldSource
from lib.data.world.draw import Painter
from lib.data.world.events import Episode, episode_of
from lib.data.world.motion import simulate
from lib.data.world.plan import Plan, plan_videos


def episodes(**knobs: Any) -> list[Episode]:
    """The episodes of a world; the default is that of the embedded demo's test split."""
    options = WorldSource.model_validate({"format": "world", "videos": {"test": 40}} | knobs)
    return list(_episodes(options.model_dump_json()))


@cache
def _episodes(options: str) -> tuple[Episode, ...]:
    source = WorldSource.model_validate_json(options)
    return tuple(episode(plan, source) for plan in plan_videos(source))


@cache
def _seen(name: str, drawing: str) -> list[list[int]]:
    """The tracks to be seen, which do not depend on settings of sound, evidence and number of queries."""
    source = WorldSource.model_validate_json(drawing)
    plan = next(plan for plan in plan_videos(source) if plan.name == name)
    painter = Painter(plan, source)
    return [
        [one.state.track for one in painter.frame(index, states)[1]] for index, states in enumerate(simulate(plan, source))
    ]


def episode(plan: Plan, options: WorldSource) -> Episode:
    plain = {"format": "world"} | options.model_dump(exclude={"sound", "evidence", "queries", "questions", "videos"})
    drawing = WorldSource.model_validate(plain | {"videos": {plan.split: int(plan.name[-3:]) + 1}})
    return episode_of(plan, options, simulate(plan, options), _seen(plan.name, drawing.model_dump_json()))
