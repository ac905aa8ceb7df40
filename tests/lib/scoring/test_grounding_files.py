"""`score grounding`: official files become the official numbers, per format by its own rule, and every kind of bad file is
refused by name, with entry, value, what is allowed and a hint."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from lib.files import DataError
from lib.scoring import grounding

CLIP, ANNOTATION = "c1", "a1"
QUERIES: list[dict[str, Any]] = [
    {"query": "Where is the key?", "template": "Objects: Where is X?", "clip_start_sec": 10.0, "clip_end_sec": 12.0},
    {"query": "", "clip_start_sec": 0.0, "clip_end_sec": 1.0},
    {"query": "What did I wash?", "template": None, "clip_start_sec": 100.0, "clip_end_sec": 140.0},
]


def annotations(queries: list[dict[str, Any]] = QUERIES, **clip: Any) -> dict[str, Any]:
    one = {"clip_uid": CLIP, "video_start_sec": 20.0, "video_end_sec": 200.0, **clip}
    one["annotations"] = [{"annotation_uid": ANNOTATION, "language_queries": queries}]
    return {"version": "v2", "videos": [{"video_uid": "v1", "split": "val", "clips": [one]}]}


def entry(index: Any, windows: Any, **more: Any) -> dict[str, Any]:
    return {"clip_uid": CLIP, "annotation_uid": ANNOTATION, "query_idx": index, "predicted_times": windows, **more}


def submission(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": list(entries), **more}


GOOD = [entry(0, [[10.0, 14.0], [10.0, 12.0]]), entry(2, [[100.0, 132.0, 0.9]])]


def scored(folder: Path, name: str, truth: Any, predictions: Any, *, partial: bool = False) -> dict[str, Any]:
    """Texts are written as they are, lists as JSON lines for qvhighlights, the rest as JSON."""
    paths = {}
    for kind, values in (("truth", truth), ("predictions", predictions)):
        paths[kind] = folder / kind
        text = values if isinstance(values, str) else json.dumps(values)
        if name == "qvhighlights" and isinstance(values, list):
            text = "\n".join(json.dumps(value) for value in values)
        paths[kind].write_text(text)
    return grounding.score(argparse.Namespace(format=name, partial=partial, **paths))


def test_ego4d_by_hand(tmp_path: Path) -> None:
    """The first window of the first query has IoU 0.5: no hit at 0.5; the query without a text needs no entry."""
    found = scored(tmp_path, "ego4d_nlq", annotations(), submission(*GOOD))
    assert found["official"] == {
        "R1@0.3": 100.0, "R1@0.5": 50.0, "R1@0.7": 50.0, "R3@0.3": 100.0, "R3@0.5": 100.0, "R3@0.7": 100.0,
        "R5@0.3": 100.0, "R5@0.5": 100.0, "R5@0.7": 100.0, "mIoU": 65.0,
    }  # fmt: skip
    assert (found["queries"], found["scored"], found["coverage"], found["windows"]) == (2, 2, 1.0, 3)
    assert found["per_template"]["no template"]["n_truth"] == 1 and found["per_length"]["≤ 2 s"]["R1@0.5"] == 0.0
    assert found["warnings"] == []


def test_ego4d_counts_what_was_submitted(tmp_path: Path) -> None:
    """The official denominator: entries, also one of a query without a text."""
    found = scored(tmp_path, "ego4d_nlq", annotations(), submission(*GOOD, entry(1, [[0.0, 1.0]])))
    assert found["official"]["R1@0.5"] == 66.67 and "1 queries without a text" in found["warnings"][0]
    found = scored(tmp_path, "ego4d_nlq", annotations(), submission(GOOD[1]), partial=True)
    assert found["official"]["R1@0.5"] == 100.0 and found["coverage"] == 0.5 and "left out" in found["warnings"][0]


BAD_SUBMISSIONS: dict[str, tuple[Any, str]] = {
    "missing": (submission(GOOD[0]), f"no entry for query {ANNOTATION}_2 of {CLIP} (1 of 3 queries have none)"),
    "twice": (submission(*GOOD, GOOD[0]), f"results[2]: query {ANNOTATION}_0 of clip {CLIP}; allowed: one entry per query"),
    "unknown": (
        submission(*GOOD, entry(3, [[1.0, 2.0]])),
        f"results[2]: query {ANNOTATION}_3 of clip {CLIP}; allowed: one of",
    ),
    "other clip": (submission(entry(0, [[1.0, 2.0]], clip_uid="c2")), f"query {ANNOTATION}_0 of clip c2"),
    "text index": (submission(entry("0", [[1.0, 2.0]])), "query_idx '0'; allowed: a whole number"),
    "no index": (submission({"clip_uid": CLIP, "annotation_uid": ANNOTATION}), "query_idx 'absent'"),
    "no clip": (submission({"annotation_uid": ANNOTATION}), "clip_uid 'absent'; allowed: a text"),
    "no windows": (
        submission(entry(0, [])),
        f"results[0] (query {ANNOTATION}_0): windows []; allowed: a list of at least one",
    ),
    "reversed": (submission(entry(0, [[1, 2], [5.0, 4.0]])), "window 1: [5.0, 4.0]; allowed: an end at least the start"),
    "NaN": (submission(entry(0, [[float("nan"), 4.0]])), "window 0: [nan, 4.0]; allowed: [start, end]"),
    "four numbers": (submission(entry(0, [[1, 2, 3, 4]])), "[1, 2, 3, 4]; allowed"),
    "number": (submission(7), "results[0]: 7; allowed: an object"),
    "version": (submission(*GOOD, version="2.0"), "version: '2.0'; allowed: '1.0'"),
    "challenge": (submission(*GOOD, challenge="mq"), "challenge: 'mq'; allowed: 'ego4d_nlq_challenge'"),
    "list": ([], "results: list; allowed: {version, challenge, results"),
    "cut": ('{"version": ', "not valid JSON"),
}


@pytest.mark.parametrize("case", BAD_SUBMISSIONS)
def test_bad_submissions_are_refused(case: str, tmp_path: Path) -> None:
    values, says = BAD_SUBMISSIONS[case]
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "ego4d_nlq", annotations(), values)
    assert f"{tmp_path / 'predictions'}: " in str(refused.value) and says in str(refused.value)
    assert "Hint: " in str(refused.value)


BAD_ANNOTATIONS: dict[str, tuple[Any, str]] = {
    "unannotated": (annotations([{"query": "Where?"}]), "1 of 1 queries have no true window; allowed: annotated queries"),
    "half a window": (annotations([{**QUERIES[0], "clip_end_sec": None}]), "[10.0, None]; allowed: two finite numbers"),
    "no length": (annotations(video_end_sec=None), "video_start_sec 20.0, video_end_sec None; allowed: two numbers"),
    "no clip name": (annotations(clip_uid=None), "videos[0].clips[0]: clip_uid None; allowed: a text"),
    "no videos": ({"clips": []}, "videos: absent; allowed: a list"),
    "nothing asked": (annotations([{"query": None}]), "no query with a text"),
    "a clip twice": (
        {"videos": annotations()["videos"] * 2},
        f"query {ANNOTATION}_0 of clip {CLIP}; allowed: each query once",
    ),
    "predictions": (submission(*GOOD), "videos: absent"),
}


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_bad_annotations_are_refused(case: str, tmp_path: Path) -> None:
    values, says = BAD_ANNOTATIONS[case]
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "ego4d_nlq", values, submission(entry(0, [[1.0, 2.0]])))
    assert f"{tmp_path / 'truth'}: " in str(refused.value) and says in str(refused.value)


def test_an_answer_without_length_is_skipped_and_counted(tmp_path: Path) -> None:
    queries = [{**QUERIES[0], "clip_end_sec": 10.0}, *QUERIES[1:]]
    found = scored(tmp_path, "ego4d_nlq", annotations(queries), submission(*GOOD))
    assert found["scored"] == 1 and "1 queries have a true window that does not end after it starts" in found["warnings"][0]


def test_windows_outside_of_the_clip_are_told(tmp_path: Path) -> None:
    found = scored(tmp_path, "ego4d_nlq", annotations(), submission(GOOD[0], entry(2, [[100.0, 190.0]])))
    assert (
        f"1 queries have windows outside of their clip (first: query {ANNOTATION}_2 of {CLIP}, 180 s"
        in found["warnings"][0]
    )


def test_windows_that_do_not_count_are_told(tmp_path: Path) -> None:
    """A challenge takes five; the sixth, which would hit, is no answer."""
    six = entry(2, [[0.0, 1.0]] * 5 + [[100.0, 140.0]])
    found = scored(tmp_path, "ego4d_nlq", annotations(), submission(GOOD[0], six))
    assert found["official"]["R5@0.3"] == 50.0 and found["windows"] == 8
    assert (
        f"1 queries have more than 5 windows, of which the first 5 count (first: query {ANNOTATION}_2"
        in found["warnings"][0]
    )


MOMENTS = [
    {"qid": 1, "vid": "x_0", "query": "A dog", "duration": 150, "relevant_windows": [[0, 10], [40, 80]]},
    {"qid": 2, "vid": "x_1", "query": "A cat", "duration": 150, "relevant_windows": [[20, 40]]},
]
FOUND = [
    {"qid": 2, "vid": "x_1", "pred_relevant_windows": [[20, 40, 0.9]]},
    {"qid": 1, "vid": "x_0", "pred_relevant_windows": [[40, 60, 0.5], [0, 10, 0.9]]},
]


def test_qvhighlights_by_hand(tmp_path: Path) -> None:
    found = scored(tmp_path, "qvhighlights", MOMENTS, FOUND)
    assert found["official"]["MR-full-R1@0.5"] == 100.0 and found["official"]["MR-full-R1@0.7"] == 50.0
    assert found["official"]["MR-full-mAP@0.5"] == 100.0 and found["official"]["MR-full-mAP@0.75"] == 75.0
    assert found["official"]["MR-middle-mAP"] == 100.0 and found["official"]["MR-short-mAP"] == 100.0
    assert found["official"]["MR-long-mAP"] == 5.0, "IoU 0.5, second by score: 1/2 at one of ten thresholds"
    assert found["queries_with_window"] == {"full": 2, "short": 1, "middle": 1, "long": 1}
    assert scored(tmp_path, "qvhighlights", MOMENTS, FOUND[:1], partial=True)["official"]["MR-full-R1@0.7"] == 100.0


BAD_MOMENTS: dict[str, tuple[Any, str]] = {
    "missing": (FOUND[:1], "no entry for query 1 of x_0"),
    "twice": ([*FOUND, FOUND[0]], "line 3: qid 2; allowed: one line per query"),
    "other video": ([{**FOUND[0], "vid": "x_9"}], "qid 2 of x_9; the truth has it in x_1; allowed"),
    "no score": (
        [{**FOUND[0], "pred_relevant_windows": [[1, 2]]}],
        "line 1 (qid 2), window 0: [1, 2]; allowed: [start, end, score]",
    ),
    "no windows": ([{**FOUND[0], "pred_relevant_windows": []}], "windows []"),
    "NaN score": (
        [{**FOUND[0], "pred_relevant_windows": [[1, 2, float("nan")]]}],
        "line 1 (qid 2), window 0: [1, 2, nan]; allowed: [start, end, score], finite numbers",
    ),
    "no qid": ([{"vid": "x_0"}], "qid 'absent'"),
    "text qid": ([{**FOUND[0], "qid": "2"}], "qid '2'; allowed: a whole number"),
    "cut": ('{"qid": 1, "vi', "line 1: not valid JSON"),
    "list": ("[1]", "line 1: [1]; allowed: an object"),
}


@pytest.mark.parametrize("case", BAD_MOMENTS)
def test_bad_moments_are_refused(case: str, tmp_path: Path) -> None:
    values, says = BAD_MOMENTS[case]
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "qvhighlights", MOMENTS, values)
    assert f"{tmp_path / 'predictions'}: " in str(refused.value) and says in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"relevant_windows": None}, "have no true window; allowed: annotated queries"),
        ({"relevant_windows": [[5, 4]]}, "[5, 4]; allowed: an end at least the start"),
        ({"duration": 0}, "duration 0"),
        ({"qid": 2}, "line 2: qid 2; allowed: each qid once"),
    ],
)
def test_bad_truth_of_moments_is_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "qvhighlights", [{**MOMENTS[0], **change}, MOMENTS[1]], FOUND)
    assert says in str(refused.value)


def test_charades_counts_an_iou_at_the_threshold(tmp_path: Path) -> None:
    truth = "AO8RW 0.0 8.0##a person is putting a book on a shelf.\nAO8RW 10.0 20.0##person sits.\n\nZZ 1 2##x."
    answers = {"AO8RW": [[[0.0, 4.0]], [[0.0, 1.0], [10.0, 20.0]]], "ZZ": [[[1.0, 2.0]]]}
    found = scored(tmp_path, "charades", truth, answers)
    assert (
        found["hit"] == "IoU >= threshold" and found["official"]["R1@0.5"] == 66.67 and found["official"]["R3@0.7"] == 66.67
    )
    for text, says in (
        ("AO8RW 0.0 8.0 a person", "line 1: AO8RW 0.0 8.0 a person"),
        ("A 0 x##y", "A 0 x##y"),
        ("", "no line"),
    ):
        with pytest.raises(DataError) as refused:
            scored(tmp_path, "charades", text, answers)
        assert says in str(refused.value)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"A": [[[0.0, 4.0]]]}, "no entry for query 0 of B"),
        ({"A": [[[0.0, 4.0]]], "B": [[[0.0, 1.0]], [[0.0, 1.0]]]}, "B: 2 lists of windows; allowed: 1, one per sentence"),
        ({"A": [[[0.0, 4.0]]], "C": [[[0.0, 4.0]]]}, "C: not a video of the truth"),
        ({"A": [[[0.0, 4.0, float("inf")]]]}, "A, sentence 0, window 0: [0.0, 4.0, inf]; allowed"),
        ({"A": [[["0", "4"]]]}, "A, sentence 0, window 0: ['0', '4']; allowed"),
        ('{"A": [[[0, 4]]], "A": [[[0, 4]]]}', "A: stated twice; allowed: each name once"),
    ],
)
def test_bad_answers_of_charades_are_refused(answers: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "charades", "A 0.0 8.0##a person sits.\nB 0 2##x.", answers)
    assert f"{tmp_path / 'predictions'}: " in str(refused.value) and says in str(refused.value)
    assert "Hint: " in str(refused.value)


TACOS = {"s1.avi": {"timestamps": [[0, 80], [100, 300]], "sentences": ["a", "b"], "fps": 10.0, "num_frames": 400}}


def test_tacos_counts_only_more_than_the_threshold(tmp_path: Path) -> None:
    found = scored(tmp_path, "tacos", TACOS, {"s1.avi": [[[0.0, 4.0]], [[10.0, 30.0]]]})
    assert (
        found["hit"] == "IoU > threshold" and found["official"]["R1@0.5"] == 50.0 and found["official"]["R1@0.1"] == 100.0
    )


@pytest.mark.parametrize(
    ("truth", "answers", "says"),
    [
        (TACOS, {}, "no entry for query 0 of s1.avi"),
        (TACOS, {"s1.avi": [[[0.0, 4.0]]]}, "s1.avi: 1 lists of windows; allowed: 2, one per sentence"),
        (TACOS, {"s2.avi": []}, "s2.avi: not a video of the truth"),
        (TACOS, {"s1.avi": [[[0.0, 4.0]], [[4.0, 0.0]]]}, "s1.avi, sentence 1, window 0: [4.0, 0.0]"),
        (TACOS, [], "list; allowed: {video:"),
        (TACOS, '{"s1.avi": [], "s1.avi": []}', "s1.avi: stated twice; allowed: each name once"),
        (TACOS, {"s1.avi": [[[0.0, 4.0]], [[4.0, float("nan")]]]}, "s1.avi, sentence 1, window 0: [4.0, nan]; allowed"),
        (TACOS, {"s1.avi": [[[0.0, 4.0]], []]}, "s1.avi, sentence 1: windows []; allowed: a list of at least one"),
        ({"s1.avi": {**TACOS["s1.avi"], "fps": 0}}, {}, "fps 0; allowed"),
        ({"s1.avi": {**TACOS["s1.avi"], "sentences": ["a"]}}, {}, "of different number"),
        ({"s1.avi": {**TACOS["s1.avi"], "timestamps": [[0, 80], [1]]}}, {}, "timestamps[1]: [1]; allowed: [first frame"),
        ([], {}, "list; allowed: {video: {timestamps"),
    ],
)
def test_bad_files_of_tacos_are_refused(truth: Any, answers: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        scored(tmp_path, "tacos", truth, answers)
    assert says in str(refused.value)


@pytest.mark.mirror
def test_real_files(tmp_path: Path, mirror: Path) -> None:
    """TACoS' own windows as predictions are all found; QVHighlights' sample has the published figures."""
    raw = json.loads((mirror / "nlq" / "tacos" / "val.json").read_text())
    answers = {
        video: [[[start / row["fps"], end / row["fps"]]] for start, end in row["timestamps"]] for video, row in raw.items()
    }
    found = scored(tmp_path, "tacos", raw, answers)
    assert found["official"]["mIoU"] == 100.0 and found["queries"] > 4000
    folder = mirror / "nlq" / "qvhighlights"
    files = {"truth": folder / "highlight_val_release.jsonl", "predictions": folder / "sample_val_preds.jsonl"}
    found = grounding.score(argparse.Namespace(format="qvhighlights", partial=False, **files))
    assert found["official"]["MR-full-mAP"] == 32.2 and found["official"]["MR-full-R1@0.5"] == 53.94
