"""Model files that try to run code, read files or fill the memory: none gets anywhere, one loader reads them all.

Reference: the same file read by torch without restrictions does leave its trace (so each trap works).
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.files import DataError, sha256_file
from lib.models import yolo
from lib.models.loading import UNSAFE_SHA256, load_checkpoint
from lib.models.yolo_onnx import open_session
from tests.conftest import PROJECT
from tests.faults.counts import Tally

KIND = "pickle gadgets"


class Runs:
    """Unpickling this calls `function(*arguments)`; `state` goes to __setstate__ of the result."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def raw(*opcodes: bytes) -> bytes:
    """A pickle of protocol 2 from its opcodes."""
    return b"\x80\x02" + b"".join(opcodes) + b"."


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words.encode())) + words.encode()


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: str) -> bytes:
    return raw(glob(module, name), b"(", *(text(one) for one in arguments), b"tR")


def evil(trace: Path) -> dict[str, bytes]:
    """Pickles that leave `trace` when they are read without care."""
    touch, code = f"touch {trace}", f"open({str(trace)!r}, 'w')"
    inner = pickle.dumps(Runs(os.system, touch), protocol=2)
    array = np.empty(1, dtype=object)
    array[0] = Runs(os.system, touch)
    getattr_chain = raw(
        glob("builtins", "getattr"),
        b"(",
        glob("builtins", "getattr"),
        b"(",
        glob("os", "path"),
        text("os"),
        b"tR",
        text("system"),
        b"tR",
        b"(",
        text(touch),
        b"tR",
    )
    return {
        "os.system": call("os", "system", touch),
        "posix.system": call("posix", "system", touch),
        "subprocess.getoutput": call("subprocess", "getoutput", touch),
        "subprocess.Popen": raw(glob("subprocess", "Popen"), b"((", text("touch"), text(str(trace)), b"ltR"),
        "pty.spawn": raw(glob("pty", "spawn"), b"((", text("touch"), text(str(trace)), b"ltR"),
        "builtins.eval": call("builtins", "eval", code),
        "builtins.exec": call("builtins", "exec", code),
        "builtins.open": call("builtins", "open", str(trace), "w"),
        "__builtin__.eval": call("__builtin__", "eval", code),
        "getattr chain": getattr_chain,
        "io.open": call("io", "open", str(trace), "w"),
        "codecs.open": call("codecs", "open", str(trace), "w"),
        "pathlib.Path.touch": raw(
            glob("pathlib", "Path.touch"), b"(", glob("pathlib", "Path"), b"(", text(str(trace)), b"tRtR"
        ),
        "timeit": raw(glob("timeit", "timeit"), b"(", text(code), text("pass"), b"tR"),
        "code.InteractiveInterpreter": raw(glob("code", "InteractiveInterpreter"), b")R", b"."),
        "runpy": call("runpy", "_run_code", code),
        "logging.FileHandler": call("logging", "FileHandler", str(trace)),
        "pickle.loads": raw(glob("pickle", "loads"), b"(", b"B" + struct.pack("<I", len(inner)) + inner, b"tR"),
        "torch.load of another file": raw(
            glob("torch", "load"), b"(", text(str(trace.with_name("second.pt"))), b"NN\x89tR"
        ),
        "torch.hub": call("torch.hub", "load", str(trace), "m"),
        "torch.utils.cpp_extension": call("torch.utils.cpp_extension", "load_inline", "m", code),
        "torch._dynamo": call("torch._dynamo.utils", "import_submodule", "os"),
        "numpy.load": call("numpy", "load", str(trace)),
        "numpy object array": pickle.dumps(array, protocol=2),
        "functools.partial": raw(glob("functools", "partial"), b"(", glob("os", "system"), text(touch), b"tR", b")R"),
        "operator.methodcaller": raw(
            glob("operator", "methodcaller"), b"(", text("system"), text(touch), b"tR(", glob("os", "path"), b"tR"
        ),
        "types.FunctionType": raw(glob("types", "FunctionType"), b"(N}tR"),
        "dill": call("dill._dill", "_create_function", code),
        "cloudpickle": call("cloudpickle.cloudpickle", "_make_function", code),
        "joblib": call("joblib", "load", str(trace)),
        "yaml.unsafe_load": call("yaml", "unsafe_load", f"!!python/object/apply:os.system ['{touch}']"),
        "shutil.copyfile": call("shutil", "copyfile", "/etc/hostname", str(trace)),
        "webbrowser": call("webbrowser", "open", "http://127.0.0.1:9"),
        "ultralytics download": call("ultralytics.utils.downloads", "safe_download", "http://127.0.0.1:9"),
        "ultralytics YOLO": call("ultralytics.models.yolo.model", "YOLO", str(trace.with_name("second.pt"))),
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": raw(b"(", glob("os", "system"), text(touch), b"o"),
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + text(touch) + b"tR.",
        "dotted name": b"\x80\x04\x8c\x18torch.nn.modules.module.\x8c\x1aModule.__init__.__globals__\x93.",
        "a function of torch.nn": call("torch.nn.modules.utils", "consume_prefix_in_state_dict_if_present", touch),
        "EXT": raw(b"\x82\x01"),
        "persistent id": raw(b"(", glob("os", "system"), text(touch), b"tQ"),
    }


def as_zip(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/version", "3\n")
    return out.getvalue()


def as_legacy(content: bytes) -> bytes:
    magic = 0x1950A86A20F9469CFC6C
    head = pickle.dumps(magic, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return head + content + pickle.dumps([], 2)


FORMS: dict[str, Callable[[bytes], bytes]] = {"zip": as_zip, "legacy": as_legacy, "bare": bytes}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", evil(Path("trace")))
def test_gadgets_do_not_run(tmp_path: Path, tally: Tally, name: str, form: str) -> None:
    trace = tmp_path / "trace"
    torch.save({"model": Runs(os.system, f"touch {trace}")}, tmp_path / "second.pt")
    path = tmp_path / "bad.pt"
    path.write_bytes(FORMS[form](evil(trace)[name]))
    tally.refused(KIND, lambda: load_checkpoint(path), "bad.pt")
    assert not trace.exists(), "it ran"


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "getattr chain",
        "pickle.loads",
        "numpy object array",
        "INST",
        "OBJ",
        "STACK_GLOBAL",
        "functools.partial",
        "logging.FileHandler",
    ],
)
def test_the_traps_work_where_nobody_looks(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace"
    torch.save({"model": Runs(os.system, f"touch {trace}")}, tmp_path / "second.pt")
    (tmp_path / "bad.pt").write_bytes(as_zip(evil(trace)[name]))
    with suppress(Exception):  # some break after they ran
        torch.load(tmp_path / "bad.pt", weights_only=False)
    assert trace.exists()


def inside(trace: Path) -> dict[str, Any]:
    """Honest-looking checkpoints with a trap somewhere inside."""
    trap = Runs(os.system, f"touch {trace}")
    layer = torch.nn.Linear(2, 2)
    hooked = torch.nn.Linear(2, 2)
    hooked._forward_hooks[0] = trap
    overwritten = torch.nn.Linear(2, 2)
    overwritten.__dict__["forward"] = trap
    tensor = torch.zeros(2)
    tensor.note = trap
    return {
        "in a state dict": {"model": layer.state_dict() | {"weight": trap}},
        "as a key": {"model": {(1, 2): trap}},
        "deep in lists": {"model": [[[[trap]]]]},
        "as a layer's hook": {"model": hooked},
        "as a layer's forward": {"model": overwritten},
        "on a tensor": {"model": tensor},
        "as the names": {"model": layer, "names": trap},
        "as the optimizer": {"optimizer": {"state": trap}},
        "a layer built anew": {"model": Runs(torch.nn.Linear, 2, 2)},
        "a layer that fills the memory": {"model": Runs(torch.nn.Linear, 300_000, 300_000)},
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", inside(Path("trace")))
def test_traps_inside_honest_files_do_not_run(tmp_path: Path, tally: Tally, name: str, zipped: bool) -> None:
    trace = tmp_path / "trace"
    torch.save(inside(trace)[name], tmp_path / "bad.pt", _use_new_zipfile_serialization=zipped)
    tally.refused(KIND, lambda: load_checkpoint(tmp_path / "bad.pt"), "bad.pt")
    assert not trace.exists()
    assert torch.nn.Linear(1, 1) is not None, "layers can be built again"


def test_a_ultralytics_layer_cannot_be_built_by_a_file(tmp_path: Path, tally: Tally) -> None:
    """TorchVision's constructor fetches weights; with a state alone it would be restored without."""
    yolo.quiet_ultralytics()
    from ultralytics.nn.modules import TorchVision

    torch.save({"model": Runs(TorchVision, "resnet18", "DEFAULT")}, tmp_path / "bad.pt")
    tally.refused(KIND, lambda: load_checkpoint(tmp_path / "bad.pt"), "bad.pt")


def damaged(good: bytes) -> dict[str, bytes]:
    """An honest checkpoint damaged in ways that leave it a zip file."""
    out: dict[str, bytes] = {f"cut at {share} %": good[: len(good) * share // 100] for share in (1, 10, 50, 90, 99)}
    names = zipfile.ZipFile(io.BytesIO(good)).namelist()
    for change in ("a storage is missing", "a storage is shorter", "the pickle stands twice", "the pickle is empty"):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(stream, "w") as new:
            for name in names:
                content = old.read(name)
                if "/data/" in name and change == "a storage is missing":
                    continue
                content = content[:4] if "/data/" in name and change == "a storage is shorter" else content
                content = b"" if name.endswith("data.pkl") and change == "the pickle is empty" else content
                new.writestr(name, content)
            if change == "the pickle stands twice":
                new.writestr(names[0], call("os", "system", "touch TRACE"))
        out[change] = stream.getvalue()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(100 << 20))
    return out | {"a bomb": bomb.getvalue()}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_checkpoints_are_refused(tmp_path: Path, monkeypatch, tally: Tally) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": torch.nn.Linear(40, 40).state_dict()}, tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    assert load_checkpoint(tmp_path / "good.pt")["model"]["weight"].shape == (40, 40)
    for name, content in damaged(good).items():
        (tmp_path / "bad.pt").write_bytes(content)
        tally.refused("damaged weights", lambda: load_checkpoint(tmp_path / "bad.pt"), "bad.pt")
        assert not (tmp_path / "TRACE").exists(), name


def test_a_storage_that_claims_more_than_it_holds(tmp_path: Path, tally: Tally) -> None:
    torch.save({"x": torch.zeros(7)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as old, zipfile.ZipFile(tmp_path / "bad.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"K\x07", b"K\x70"))
    tally.refused("damaged weights", lambda: load_checkpoint(tmp_path / "bad.pt"), "bad.pt")


# The one way round


def test_unsafe_reading_needs_the_very_sha256(tmp_path: Path, monkeypatch, tally: Tally) -> None:
    trace, path = tmp_path / "trace", tmp_path / "bad.pt"
    torch.save({"model": Runs(os.system, f"touch {trace}"), "x": 1}, path)
    monkeypatch.setenv(UNSAFE_SHA256, "0" * 64)
    tally.refused(KIND, lambda: load_checkpoint(path), "`allow_unsafe: true` under `weights:`")
    assert not trace.exists()
    monkeypatch.setenv(UNSAFE_SHA256, f"{'0' * 64},{sha256_file(path)}")
    tally.right(KIND, load_checkpoint(path)["x"] == 1 and trace.exists())
    trace.unlink()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError):
        load_checkpoint(path)
    assert not trace.exists(), "one byte more is another file"


def test_the_setting_hands_down_the_sums_of_trusted_files_only() -> None:
    from lib.config.study import Study

    weights = {"a": {"path": "a.pt", "sha256": "a" * 64, "allow_unsafe": True}, "b": {"path": "b.pt", "sha256": "b" * 64}}
    assert Study.model_validate({"study": "s", "weights": weights}).site()[UNSAFE_SHA256] == "a" * 64
    del weights["a"]
    assert Study.model_validate({"study": "s", "weights": weights}).site()[UNSAFE_SHA256] == ""
    with pytest.raises(ValueError, match="allow_unsafe needs the file's sha256"):
        Study.model_validate({"study": "s", "weights": {"a": {"path": "a.pt", "allow_unsafe": True}}})


# ONNX


@pytest.mark.parametrize("location", ["in.bin", "../secret.bin", "/etc/passwd", "a/../../secret.bin", ""])
@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph"])
def test_onnx_tensors_in_other_files_are_refused(tmp_path: Path, tally: Tally, location: str, where: str) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    values = onnx.numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    for place in (tmp_path / "in.bin", tmp_path.parent / "secret.bin"):
        place.write_bytes(values.raw_data)
    outside = onnx.TensorProto()
    outside.CopyFrom(values)
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=location)
    ends = [helper.make_tensor_value_info("x", 1, [4, 4])], [helper.make_tensor_value_info("y", 1, [4, 4])]
    constant = helper.make_node("Constant", [], ["w"], value=outside)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    if where == "initializer":
        graph = helper.make_graph([product], "g", *ends, [outside])
    elif where == "attribute":
        graph = helper.make_graph([constant, product], "g", *ends)
    else:
        branch = helper.make_graph(
            [constant, helper.make_node("Identity", ["w"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, [4, 4])]
        )
        yes = helper.make_node("Constant", [], ["yes"], value=onnx.numpy_helper.from_array(np.array(True)))
        graph = helper.make_graph(
            [yes, helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)], "g", *ends
        )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    tally.refused("ONNX", lambda: open_session(tmp_path / "m.onnx"), "m.onnx", "of its tensors lie in other files")


def test_damaged_onnx_files_are_refused(tmp_path: Path, tally: Tally) -> None:
    for content in (b"", b"\x00" * 100, b"not a network", b"\x08\x07\x3a\xff\xff\xff\xff\x0f", os.urandom(4000)):
        (tmp_path / "m.onnx").write_bytes(content)
        tally.refused("ONNX", lambda: open_session(tmp_path / "m.onnx"), "m.onnx")


# One loader

UNSAFE = {
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "joblib.load",
    "dill.load",
    "dill.loads",
    "torch.hub.load",
    "torch.jit.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "marshal.loads",
    "shelve.open",
    "eval",
    "exec",
    "os.system",
    "os.popen",
}
LOADER = "lib/models/loading.py"


def findings(source: str) -> set[str]:
    """Calls in a file that could run what they read."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
        if name in UNSAFE or name.endswith(".extractall"):
            found.add(name)
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
            found.add(f"{name}(allow_pickle)")
        if keywords.get("shell", "False") != "False":
            found.add(f"{name}(shell)")
    return found


def test_no_other_place_reads_pickles_or_runs_text() -> None:
    files = [*PROJECT.glob("lib/**/*.py"), *PROJECT.glob("workflow_scripts/**/*.py")]
    assert len(files) > 60
    found = {str(path.relative_to(PROJECT)): names for path in files if (names := findings(path.read_text()))}
    assert found == {LOADER: {"torch.load"}}
    planted = (
        "import torch\ntorch.load(f)\nnp.load(f, allow_pickle=True)\nsubprocess.run(x, shell=True)\ntar.extractall()\n"
    )
    assert findings(planted) == {"torch.load", "np.load(allow_pickle)", "subprocess.run(shell)", "tar.extractall"}


def test_safetensors_headers_that_lie(tmp_path: Path, tally: Tally) -> None:
    """The library that lib/tensor_files.py reads with; our own readers are tried in test_checkpoints.py."""
    from safetensors import SafetensorError, safe_open

    body = bytes(16)
    for entry, length in [
        ({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}, None),
        ({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}}, None),
        ({"w": {"dtype": "F32", "shape": [4], "data_offsets": [-4, 12]}}, None),
        (
            {
                "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                "v": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            },
            None,
        ),
        ({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 1 << 60),
        ({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 3),
    ]:
        head = json.dumps(entry).encode()
        (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + body)
        try:
            with safe_open(tmp_path / "m.safetensors", "pt") as file:
                file.get_tensor("w")
        except (SafetensorError, OSError):
            tally.count("safetensors", "refused")
        else:
            tally.count("safetensors", "wrong")
            raise AssertionError(f"accepted {entry}")
