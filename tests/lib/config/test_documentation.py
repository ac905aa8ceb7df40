"""What is generated from the settings classes is what lies in config/; every field says what it means."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from lib.config.documentation import _sections, generated_files, schema
from lib.config.merge import read_with_includes
from lib.config.study import Study
from tests.lib.config.test_names import STUDIES


def test_generated_files_are_up_to_date() -> None:
    for path, text in generated_files().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is behind the settings classes: run `python -m workflow_scripts.describe --write-docs`"
        )


def test_every_section_and_every_field_says_what_it_means() -> None:
    sections = list(_sections(Study, "study"))
    assert len(sections) > 20, "the walk found the sections below the study"
    silent = [
        f"{place}.{key}"
        for place, section in sections
        for key, field in section.model_fields.items()
        if not (field.description or "").strip()
    ]
    silent += [place for place, section in sections if not (section.__doc__ or "").strip()]
    assert not silent, f"without a description: {silent}"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_schema_takes_the_shipped_studies(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(values) <= set(schema()["properties"])
    jsonschema.validate(read_with_includes(path), schema())


def test_the_schema_refuses_a_misspelt_key_and_a_wrong_value() -> None:
    for wrong in ({"sedes": [0]}, {"seeds": ["x"]}, {"detectors": {"d": {"kind": "yolo", "weights": "w", "cnof": 1}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"study": "s"} | wrong, schema())
