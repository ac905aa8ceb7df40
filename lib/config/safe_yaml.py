"""YAML as settings may be written: plain values, each key once, no bombs. Not here: what keys mean, `include:` (merge.py).

The file is judged before anything is built from it: its size, its depth, and how large it would be with every alias
written out. So a hostile file costs a moment and little memory, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lib.config.base import ConfigError

LARGEST = 1_000_000
"""Bytes of one file; the largest of the shipped ones has some thousand."""
DEEPEST = 40
MOST_VALUES = 100_000
"""Values in one file, each alias counted as what it stands for."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """yaml.SafeLoader that refuses the same key twice in one mapping (YAML would silently keep the last)."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # `<<: *block` may stand beside own keys
    keys = [loader.construct_object(key, deep=True) for key in own]
    seen: set[Any] = set()
    for key, at in zip(keys, own, strict=True):
        line = at.start_mark.line + 1
        if not isinstance(key, str | int | float | bool | None):
            raise ConfigError(f"a key must be a word or a number, found {type(key).__name__} (line {line}).")
        if key in seen:
            raise ConfigError(f"key {key!r} stands twice in one block (line {line}). Hint: keep one of them.")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_yaml(path: Path) -> Any:
    """What stands in one YAML file.

    Raises FileNotFoundError, and ConfigError, which names the file, for all else: another encoding, no valid YAML, tags, a
    key that stands twice, and files that are too large, too deep or full of aliases.
    """
    try:
        text = _text(path)
        _refuse_bombs(text)
        return _UniqueKeyLoader(text).get_single_data()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number or a date that is none, such as 2024-13-99
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ConfigError("cannot be read as UTF-8 text: it is a folder, a pipe or a device, not a file.")
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(
            f"is larger than {LARGEST:,} bytes. Hint: settings are small; long tables belong into a csv file."
        )
    return content.decode("utf-8")


def _refuse_bombs(text: str) -> None:
    """ConfigError for text that is too deep, or too long when every alias is written out. Builds nothing."""
    count = _Count()
    for event in _events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            count.alias(event.anchor, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            count.open_blocks.append((event.anchor, count.values))
            count.values += 1
        elif isinstance(event, yaml.ScalarEvent):
            count.values += 1
            count.sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = count.open_blocks.pop()
            count.sizes[anchor] = count.values - before
        if len(count.open_blocks) > DEEPEST:
            raise ConfigError(f"is nested deeper than {DEEPEST} blocks (line {line}).")
        if count.values > MOST_VALUES:
            raise ConfigError(f"stands for more than {MOST_VALUES:,} values, its aliases written out (line {line}).")


@dataclass
class _Count:
    """Values so far, values behind each anchor, and open blocks: (anchor, values before it). Anchor None = no anchor."""

    values: int = 0
    sizes: dict[str | None, int] = field(default_factory=dict)
    open_blocks: list[tuple[str | None, int]] = field(default_factory=list)

    def alias(self, anchor: str, line: int) -> None:
        """Count an alias as what it stands for; a block inside of itself has no size."""
        if any(known == anchor for known, _ in self.open_blocks):
            raise ConfigError(f"alias *{anchor} stands for a block that holds it (line {line}).")
        self.values += self.sizes.get(anchor, 1)


def _events(text: str) -> Any:
    """Parse events one by one; by libyaml where it is built in, which is ten times faster and knows no recursion."""
    return yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
