"""What a run left behind is input, too: damaged in any way, it is refused in one line."""

import copy
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatial_transformers import InputError
from spatial_transformers._reading import Finite, fault, read_json, read_numbers
from spatial_transformers._tensors import difference
from spatial_transformers.benchmarks.measure import Found
from spatial_transformers.benchmarks.results import Results
from spatial_transformers.experiments import metrics, origin, run
from spatial_transformers.experiments.checkpoint import WholeCheckpoints
from spatial_transformers.experiments.registry import defaults, read
from spatial_transformers.experiments.trainer import surroundings

from .mnist import write_mnist

pytestmark = pytest.mark.traced  # reads messages

OTHERS = ("x", 7, -0.5, True, None, [], [[1]], {}, {"x": {}}, float("nan"), float("inf"), 10**400)
DEEP = "[" * 1000 + "]" * 1000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of one epoch, on few images."""
    folder = tmp_path_factory.mktemp("left")
    data = write_mnist(folder / "mnist")
    recipe = defaults("distorted-mnist", epochs=1, batch_size=16, precision="32-true")
    run.train(recipe, folder / "run", data=data, accelerator="cpu", enable_progress_bar=False)
    return recipe, folder / "run"


@pytest.fixture
def left(trained, tmp_path):
    """A copy of the run's folder, and its recipe."""
    recipe, out = trained
    shutil.copytree(out, tmp_path / "run")
    return recipe, tmp_path / "run"


def resume(recipe, out):
    return run.train(recipe, out, resume=True, accelerator="cpu", enable_progress_bar=False)


def places(value, path=()):
    """Give the path of each value at any depth; a list stands for itself and its first entry."""
    keys = value if isinstance(value, dict) else (0,) if isinstance(value, list) and value else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def changed(value, path, other):
    """Return a copy of facts in which the value of a path is another; ... leaves it out."""
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if other is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = other
    return value


def damages(content):
    """Give a file's bytes cut, flipped, and of no kind that is known."""
    yield from (content[:cut] for cut in range(0, len(content) - 2, len(content) // 7))
    for place in range(0, len(content), len(content) // 23):
        yield content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
    yield from (DEEP.encode(), b'{"x": ' * 1000, b"[" + b"9" * 5000 + b"]", b"\xff\xfe", b"3")
    yield content.replace(b"{", b'{"made": 1, "made": 2,', 1)


def refusal(read, path):
    """Return what reading a file ends in: nothing, or our error, which is one line."""
    try:
        read()
    except InputError as error:
        said = str(error)
        assert said.startswith(f"{path.parent}")
        assert ";" in said, said  # what to do
        assert "\n" not in said
        assert len(said) < 700
        return said
    return ""


def read_finished(out):
    recipe = read(out / "recipe.json")
    return metrics.in_words(resume(recipe, out))


def read_data(out):
    return origin.read(out)


@pytest.mark.parametrize(
    ("name", "read_it", "allowed"),
    [
        ("recipe.json", read_finished, 9),  # facts that are left out have their default
        ("metrics.json", read_finished, 39),  # numbers of θ of any size
        ("data.json", read_data, 2),  # another folder, or none
    ],
)
def test_every_damage_of_json_is_refused_in_a_line(left, name, read_it, allowed):
    path = left[1] / name
    before = path.read_bytes()
    facts = json.loads(before)
    for unread in ("made", "validation"):
        facts.pop(unread, None)
    for many in ("theta", "alignment"):  # an entry of each is enough
        if many in facts:
            facts[many] = dict([*facts[many].items()][:1])
    read_it(path.parent)
    damaged = [changed(facts, at, other) for at in places(facts) for other in (..., *OTHERS)]
    said = []
    for content in (*(json.dumps(d).encode() for d in damaged), *damages(before)):
        path.write_bytes(content)
        said.append(refusal(lambda: read_it(path.parent), path))
    assert all(said[len(damaged) :])
    assert said.count("") <= allowed


def test_results_of_a_benchmark(tmp_path):
    path = tmp_path / "results.json"
    known = {"versions": {"torch": "2.13", "kornia": None}, "repeats": 3}
    Results(known, path).add(Found([{"case": "a", "pass": "forward"}]))
    before = path.read_bytes()
    facts = json.loads(before)
    damaged = [changed(facts, at, other) for at in places(facts) for other in (..., *OTHERS)]
    for content in (*(json.dumps(d).encode() for d in damaged), *damages(before)):
        path.write_bytes(content)
        if not refusal(lambda: Results(known, path), path):
            assert json.loads(path.read_text()).keys() == facts.keys()
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in refusal(lambda: Results(known, path), path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        (" " * 2**21, "larger than 1048576 bytes"),
        ('{"a": 1, "a": 2}', "it has 'a' twice"),
        (DEEP, "nested too deep"),
        ("[" * 40 + "]" * 40, "nested too deep"),
        ('{"b": 1}', "a is missing"),
        ('{"a": true}', "a is True, not a whole number"),
        ('{"a": 9223372036854775808}', "not a whole number of 64 bits"),
        ('{"a": [1, "\\n"]}', "a is a list, not a whole number"),
    ],
)
def test_the_reason_is_said(tmp_path, text, reason):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError) as refused:
        read_json(tmp_path / "x.json", {"a": (int, None)}, what="note", cure="write one")
    assert str(refused.value).startswith(f"{tmp_path / 'x.json'}: no note (")
    assert reason in str(refused.value)
    assert str(refused.value).endswith("); write one")


def test_numbers(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(f"[1, {10**30}, -2.5e-9]")
    assert read_numbers(path) == [1.0, 1e30, -2.5e-9]
    for text in ("[1, true]", "[NaN]", "[1e999]", f"[{10**400}]", "{}", "[[1]]"):
        path.write_text(text)
        assert refusal(lambda: read_numbers(path), path)


def test_what_is_expected():
    assert fault({"x": [1.0, None]}, {str: [(float, None)]}) == ""
    assert fault({"x": [1.0, "y"]}, {str: [(float, None)]}) == "'x', entry 1 is 'y', not a number"
    assert fault({2: "y"}, {str: object}) == "a key is 2, not a text"
    assert fault({}, {}) == fault(float("nan"), float) == ""
    assert fault(float("nan"), Finite) == "it is nan, not a finite number"


@pytest.fixture
def checkpoint(left, monkeypatch):
    """A checkpoint, and a function that reads it as a run does that goes on."""
    recipe, out = left
    made = []
    init = WholeCheckpoints.__init__
    monkeypatch.setattr(
        WholeCheckpoints, "__init__", lambda self, *given: made.append(self) or init(self, *given)
    )
    (out / "metrics.json").unlink()
    assert resume(recipe, out)["test_images"] == 32
    (out / "metrics.json").unlink()
    with surroundings(None):
        yield out / "last.ckpt", lambda: made[0].load_checkpoint(out / "last.ckpt")


def test_bytes_of_a_checkpoint(checkpoint):
    path, go_on = checkpoint
    before = path.read_bytes()
    for content in (b"", before[:1000], before[:-1000], b"\0" * 9999, b"PK\5\6" + bytes(18)):
        path.write_bytes(content)
        assert "damaged checkpoint (" in refusal(go_on, path)
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(before), (12,), generator=generator).tolist():
        flipped = before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :]
        path.write_bytes(flipped)
        refused = refusal(go_on, path)
        assert refused or before[place] == 0, place  # of the archive's padding
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in refusal(go_on, path)


def test_parts_of_a_checkpoint(left, checkpoint):
    """Whatever a run goes on from is there, and is what this run would have written."""
    path, go_on = checkpoint
    whole = torch.load(path, weights_only=True)
    another = {"network.x": torch.zeros(1)}
    loops = whole["loops"]["fit_loop"]
    step = "epoch_loop.automatic_optimization.optim_progress"
    damaged = [[], torch.zeros(3), 3, {}, "x"]
    damaged += [changed(whole, (key,), ...) for key in whole]
    damaged += [changed(whole, (key,), other) for key in whole for other in (None, [[1]])]
    damaged += [changed(whole, ("loops", "fit_loop", key), ...) for key in loops]
    damaged += [
        changed(whole, ("epoch",), 7),
        changed(whole, ("global_step",), 0),
        changed(whole, ("state_dict",), another),
        changed(whole, ("state_dict", next(iter(whole["state_dict"]))), torch.zeros(3, 3)),
        changed(whole, ("loops", "fit_loop", step, "optimizer", "step", "total"), {}),
        changed(whole, ("optimizer_states", 0, "state", 0), ...),
        changed(whole, ("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(3)),
        changed(whole, ("optimizer_states", 0, "param_groups", 1), ...),
        changed(whole, ("optimizer_states", 0, "param_groups", 0, "params"), [0]),
        changed(whole, ("lr_schedulers", 0, "total_steps"), 99),
        changed(whole, ("story", "poses", 0), torch.zeros(3)),
        changed(whole, ("story", "validation"), {"rmse": [1.0]}),
    ]
    for content in damaged:
        torch.save(content, path)
        assert "no checkpoint of this run (" in refusal(go_on, path)
    with pytest.raises(InputError, match=r"last\.ckpt: no checkpoint of this run"):
        resume(*left)


def test_code_in_a_checkpoint_does_not_run(checkpoint, tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path, go_on = checkpoint
    torch.save({"epoch": Malicious()}, path)
    assert "damaged checkpoint (" in refusal(go_on, path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["model", "poses"])
def test_damaged_tensors(left, tmp_path, monkeypatch, name):
    _, out = left
    monkeypatch.setattr(run.picture, "film", lambda *drawn: None)
    path = out / f"{name}.safetensors"
    before, tensors = path.read_bytes(), load_file(path)

    def draw():
        run.film(out, tmp_path / "x.gif")

    first = next(iter(tensors))
    wrong = tensors[first].flatten()[:1].expand(3, 5).contiguous()
    damaged = [{}, {**tensors, "x": wrong}, {**tensors, first: wrong}]
    damaged += [{k: v for k, v in tensors.items() if k != first}]
    damaged += [{**tensors, first: tensors[first].to(torch.complex64)}]
    for content in damaged:
        save_file(content, path)
        assert f"not the {'weights' if name == 'model' else 'poses'} of" in refusal(draw, path)
    header = (before[:place] + b"!" + before[place + 1 :] for place in range(0, 120, 20))
    for content in (b"", before[:9], before[:-9], DEEP.encode(), bytes(99), *header):
        path.write_bytes(content)
        assert refusal(draw, path)
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in refusal(draw, path) or name == "model"


def test_weights_of_before_may_lack_what_modules_say_of_themselves():
    """Those among the documentation's results were written before a state said what θ means."""
    weight, said = torch.rand(3), torch.zeros(2, dtype=torch.uint8)
    network = {"weight": weight, "stn._extra_state": said, "_extra_state": said}
    assert difference({"weight": weight}, network) == ""
    assert difference({"weight": weight, "other._extra_state": said}, network) != ""
    assert difference({"stn._extra_state": said}, network) == "weight is missing"
