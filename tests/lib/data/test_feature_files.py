"""Features that stand already: every format gives the same matrix, and what is odd is refused by the file's name.

Reference: numpy's own writers and readers; (mirror) the two odd csv tables of ActivityNet features, read by the csv module.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file

from lib.config.base import canonical, identity
from lib.config.feature_files import FeatureFiles, features_digest
from lib.data.feature_files import clip_names, find_files, grid_of, query_names, read_features
from lib.data.time_grid import TimeGrid
from lib.files import DataError

T, D = 7, 3
MATRIX = np.random.default_rng(0).normal(size=(T, D)).astype(np.float32)


def settings(**more: Any) -> FeatureFiles:
    return FeatureFiles.model_validate(
        {"kind": "files", "folder": "clip", "width": D, "stride": 16, "window": 32, "fps": 30.0} | more
    )


def written(folder: Path, suffix: str, matrix: np.ndarray = MATRIX) -> Path:
    path = folder / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, matrix)
    elif suffix == ".csv":
        np.savetxt(path, matrix, delimiter=",", fmt="%.9g")
    elif suffix == ".safetensors":
        save_file({"features": np.ascontiguousarray(matrix)}, path)
    else:
        torch.save(torch.from_numpy(matrix), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".pt", ".pth", ".safetensors"])
def test_every_format_gives_the_same_matrix(suffix: str, tmp_path: Path) -> None:
    found = read_features(written(tmp_path, suffix), settings())
    assert found.dtype == np.float32
    assert np.array_equal(found, MATRIX)


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_float16_stays_and_other_numbers_become_float32(suffix: str, tmp_path: Path) -> None:
    half = read_features(written(tmp_path, suffix, MATRIX.astype(np.float16)), settings())
    assert half.dtype == np.float16 and np.array_equal(half, MATRIX.astype(np.float16))
    whole = read_features(written(tmp_path, suffix, np.arange(6, dtype=np.int64).reshape(2, 3)), settings())
    assert whole.dtype == np.float32 and whole.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_bfloat16_and_a_chosen_tensor_of_several(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"rgb": torch.from_numpy(MATRIX), "flow": torch.ones(T, D, dtype=torch.bfloat16)}, path)
    files = "{stem}.pt"
    assert np.array_equal(read_features(path, settings(files=files, tensor="rgb")), MATRIX)
    assert read_features(path, settings(files=files, tensor="flow")).tolist() == [[1.0] * D] * T
    with pytest.raises(DataError, match=r"a\.pt: holds several tensors\. Hint: set `tensor` to one of \['flow', 'rgb'\]"):
        read_features(path, settings(files=files))
    with pytest.raises(DataError, match="holds no tensor 'audio'"):
        read_features(path, settings(files=files, tensor="audio"))


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.where(np.arange(T * D).reshape(T, D) == 5, np.nan, MATRIX), r"step 1, column 2 is nan, no finite .*\(1 such\)"),
        (np.where(np.arange(T * D).reshape(T, D) > 18, np.inf, MATRIX), r"step 6, column 1 is inf, no finite .*\(2 such\)"),
        (MATRIX[:, :2], "width 2, the settings state 3. Hint: other features"),
        (np.zeros((D, T)), r"width 7, the settings state 3. Hint: the file looks turned"),
        (np.full((2, D), 1e300), "step 0, column 0 is 1e\\+300, no finite float32"),
    ],
    ids=["NaN", "infinite", "width", "turned", "beyond float32"],
)
def test_matrices_that_cannot_be_used_are_refused_by_name(
    matrix: np.ndarray, message: str, suffix: str, tmp_path: Path
) -> None:
    path = written(tmp_path, suffix, matrix)
    with pytest.raises(DataError, match=message) as refusal:
        read_features(path, settings())
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros(D), "1 dimensions, expected two"),
        (np.zeros((1, T, D)), "3 dimensions, expected two: .*Hint: pooled"),
        (np.zeros((0, D)), r"shape \(0, 3\) is empty"),
        (np.zeros((T, D), bool), "holds bool, expected numbers"),
    ],
    ids=["one dimension", "three", "empty", "bool"],
)
def test_shapes_that_are_no_matrix_of_numbers_are_refused(
    matrix: np.ndarray, message: str, suffix: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read_features(written(tmp_path, suffix, matrix), settings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("\n\n", "holds no row of numbers"),
        ("f0,f1,f2\n", "holds no row of numbers"),
        ("1,2,3\n4,5\n", "columns changed from 3 to 2"),
        ("1,2,3\n4,x,6\n", "could not convert string 'x' to float64 at row 1, column 2"),
        ("1,2,3\n4,#5,6\n", "could not convert string '#5'"),
    ],
)
def test_odd_csv_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_features(path, settings())


def test_csv_with_and_without_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in ("1,2,3\n4,5,6\n", "f0,f1,f2\n1,2,3\n4,5,6", "\ufefff0,f1,f2\r\n1, 2, 3\r\n\r\n4,5,6\r\n"):
        path.write_text(text, newline="")
        assert read_features(path, settings()).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_a_cut_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=str(path)):
        read_features(path, settings())


class _Runs:
    """A pickle of it makes a folder while it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_nothing_of_a_file_runs(suffix: str, tmp_path: Path) -> None:
    path, trace = tmp_path / f"a{suffix}", tmp_path / "ran"
    if suffix == ".pt":
        torch.save([_Runs(trace)], path)
    else:
        np.save(path, np.array([_Runs(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=str(path)):
        read_features(path, settings())
    assert not trace.exists()


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1, D).expand(10**9, D), torch.zeros(4, D).to_sparse(), torch.zeros(4, D, dtype=torch.complex64), [1.0]],
    ids=["few numbers that claim to be many", "sparse", "complex", "a list"],
)
def test_tensors_that_are_no_stored_matrix_are_refused(tensor: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(tensor, path)
    with pytest.raises(DataError, match=r"a\.pt: (a tensor of|holds a list)"):
        read_features(path, settings())


@pytest.mark.parametrize(("rows", "fits"), [(36, True), (38, True), (34, True), (39, False), (33, False), (90, False)])
def test_rows_must_fit_the_clip(rows: int, fits: bool, tmp_path: Path) -> None:
    grid = grid_of(settings(), 25.0, 20.0)
    assert grid == TimeGrid(16, 32, 30.0, 20.0) and grid.count == 36
    path = written(tmp_path, ".npy", np.zeros((rows, D)))
    if fits:
        assert len(read_features(path, settings(), grid)) == rows
    else:
        message = rf"a\.npy: {rows} steps, but a clip of 20 s has 36 at stride 16, window 32, 30 frames/s\. Hint: "
        with pytest.raises(DataError, match=message):
            read_features(path, settings(), grid)


def test_a_clips_own_rate_counts_where_none_is_stated() -> None:
    assert grid_of(settings(fps=None), 25.0, 20.0) == TimeGrid(16, 32, 25.0, 20.0)
    with pytest.raises(DataError, match="fps must be a positive, finite number, got nan"):
        grid_of(settings(fps=None), math.nan, 20.0)


MANIFEST = pd.DataFrame(
    {"video": ["s30-d52", "u_60-0_210-0", "gone"], "original": ["s30-d52.avi", "U_60.0_210.0", "x/gone.mp4"]}
)


def test_names_of_files() -> None:
    names = clip_names(MANIFEST)
    assert [one["stem"] for one in names.values()] == ["s30-d52", "U_60.0_210.0", "x/gone"]
    assert names["s30-d52"]["original"] == "s30-d52.avi"
    queries = pd.DataFrame({"query": ["q1", "q1", "q2"]})
    assert query_names(queries) == {"q1": {"query": "q1"}, "q2": {"query": "q2"}}


def test_a_clip_without_features_stops_or_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for name in ("s30-d52", "U_60.0_210.0"):
        np.save(tmp_path / "clip" / f"{name}.npy", MATRIX)
    with pytest.raises(DataError) as refusal:
        find_files(settings(), tmp_path, clip_names(MANIFEST))
    assert f"1 of 3 have no features:\n  gone: {tmp_path}/clip/x/gone.npy\nHint:" in str(refusal.value)
    found = find_files(settings(missing="drop"), tmp_path, clip_names(MANIFEST))
    assert (list(found.files), found.missing) == (["s30-d52", "u_60-0_210-0"], ["gone"])
    with pytest.raises(DataError, match="3 of 3 have no features"):
        find_files(settings(missing="drop", folder="elsewhere"), tmp_path, clip_names(MANIFEST))


def test_a_name_that_leads_out_of_the_folder_has_no_file(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    np.save(tmp_path / "secret.npy", MATRIX)
    manifest = pd.DataFrame({"video": ["a", "b"], "original": ["../secret", str(tmp_path / "secret")]})
    with pytest.raises(DataError, match="2 of 2 have no features"):
        find_files(settings(), tmp_path, clip_names(manifest))


def test_content_counts_and_the_place_does_not(tmp_path: Path) -> None:
    names = clip_names(MANIFEST.iloc[:1])
    sums = []
    for site, matrix in (("one", MATRIX), ("two", MATRIX), ("two", MATRIX + 1)):
        (tmp_path / site / "clip").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / site / "clip" / "s30-d52.npy", matrix)
        sums.append(find_files(settings(), tmp_path / site, names).content())
    assert sums[0] == sums[1] != sums[2]
    assert features_digest(settings(), tmp_path / "one") == features_digest(settings(), tmp_path / "two")
    assert str(tmp_path) not in canonical(identity(settings()))
    with pytest.raises(DataError, match="Hint: check `folder` of the feature files, and paths"):
        features_digest(settings(), tmp_path / "three")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "/data/features"}, "must stay below `paths.features`"),
        ({"folder": "../features"}, "must stay below `paths.features`"),
        ({"files": "{stem}.pkl"}, "must end in one of .npy, .pt"),
        ({"files": "all.npy"}, r"must hold one of \{video\}, \{original\}, \{stem\}"),
        ({"files": "{query}.npy"}, r"must hold one of \{video\}"),
        ({"files": "{stem!r}.npy"}, "must hold one of"),
        ({"files": "{stem.npy"}, "expected '}'"),
        ({"tensor": "features"}, "tensor: .npy files hold one matrix"),
        ({"stride": None}, "state `stride` and `window`"),
        ({"stride": 0}, "greater than 0"),
        ({"of": "text", "files": "{query}.pt"}, "words have no time grid"),
        ({"width": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**change)


def test_features_of_words(tmp_path: Path) -> None:
    words = FeatureFiles(kind="files", folder="t", files="{query}.pt", of="text", width=D)
    (tmp_path / "t").mkdir()
    torch.save(torch.from_numpy(MATRIX), tmp_path / "t" / "q1.pt")
    found = find_files(words, tmp_path, {"q1": {"query": "q1"}})
    assert read_features(found.files["q1"], words).shape == (T, D)


@pytest.mark.mirror
def test_the_odd_tables_of_activitynet_load(mirror: Path) -> None:
    manifest = pd.DataFrame({"video": ["v_test1", "v_test2"], "original": ["v_test1", "v_test2"]})
    tsn = settings(folder="nlq/activitynet-features", files="{stem}.csv", width=400, window=16)
    found = find_files(tsn, mirror, clip_names(manifest))
    for path in found.files.values():
        with open(path, newline="") as file:
            rows = [list(map(float, row)) for row in list(csv.reader(file))[1:]]
        assert np.array_equal(read_features(path, tsn), np.array(rows, np.float32))
        assert len(rows) == 5
