"""A run keeps what it found, continues where it stopped, and refuses a file measured otherwise."""

import json

import pytest
import torch

from benchmarks.toys import double, install, toy
from spatial_transformers import InputError
from spatial_transformers.benchmarks.results import Results
from spatial_transformers.benchmarks.run import bench
from spatial_transformers.commands import main


@pytest.fixture
def file(tmp_path):
    return tmp_path / "folder" / "results.json"


def measured(file):
    return [(row["case"], row["pass"]) for row in json.loads(file.read_text())["rows"]]


def run(file, *arguments):
    return main(["bench", "--quick", "--repeats", "1", "--json", str(file), *arguments])


ALL = [(name, which) for name in ("first", "second") for which in ("forward", "forward+backward")]


def counting(runs):
    return lambda image, theta: runs.append(1) or double(image, theta)


def interrupting(image, theta):
    raise KeyboardInterrupt


@pytest.mark.traced
def test_an_interrupted_run_keeps_its_rows_and_continues(monkeypatch, capsys, file):
    runs = []
    first = toy(counting(runs), name="first")
    install(monkeypatch, first, toy(interrupting, name="second"))
    assert run(file, "first", "second") == 130
    assert f"interrupted; the same command continues {file}" in capsys.readouterr().err
    assert measured(file) == ALL[:2]
    assert not list(file.parent.glob(".*"))
    kept = json.loads(file.read_text())["rows"]
    runs.clear()
    install(monkeypatch, first, toy(name="second"))
    assert run(file, "first", "second") == 0
    assert runs == []
    assert measured(file) == ALL
    assert json.loads(file.read_text())["rows"][:2] == kept


@pytest.mark.traced
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--threads", "2"], "threads 1, now 2"),
        (["--repeats", "3"], "repeats 1, now 3"),
    ],
)
def test_a_file_measured_otherwise_is_refused(monkeypatch, capsys, file, change, said):
    install(monkeypatch, toy())
    assert run(file, "toy") == 0
    before = file.read_text()
    capsys.readouterr()
    assert run(file, "toy", *change) == 2
    assert capsys.readouterr().err == (
        f"stn bench: {file}: measured otherwise ({said}); name another file, or delete it\n"
    )
    assert file.read_text() == before
    assert torch.get_num_threads() == 1


@pytest.mark.traced
def test_another_version_or_commit_is_refused(file):
    known = {"versions": {"torch": "2.13", "kornia": None}, "commit": "a"}
    Results(known, file)
    assert Results(known, file).found["rows"] == []
    with pytest.raises(InputError, match=r"\(kornia None, now 0.9\)"):
        Results({**known, "versions": {"torch": "2.13", "kornia": "0.9"}}, file)
    with pytest.raises(InputError, match=r"\(commit a, now b\)"):
        Results({**known, "commit": "b"}, file)


@pytest.mark.traced
@pytest.mark.parametrize(
    "text", ["", "[]", '{"rows": [], "absent": 0}', '{"rows": [{}], "absent": []}', "[1"]
)
def test_a_file_of_something_else_is_refused(file, text):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InputError, match="no file of results"):
        Results({}, file)
    assert file.read_text() == text


@pytest.mark.traced
def test_unequal_contenders_fail_and_leave_no_row(monkeypatch, capsys, file):
    install(monkeypatch, toy(lambda x, t: 2.1 * x, name="first"), toy(name="second"))
    assert run(file, "first", "second") == run(file, "toys") == 1
    assert measured(file) == ALL[2:]
    printed = capsys.readouterr()
    assert "first" not in printed.out
    assert "first, forward: other and ours: values differ by 0.05" in printed.err


@pytest.mark.traced
def test_an_unknown_case_is_one_line(monkeypatch, capsys):
    install(monkeypatch, toy(name="first"), toy(name="second"))
    assert main(["bench", "third"]) == 2
    assert capsys.readouterr().err == (
        "stn bench: case 'third' was asked for; groups: toys; cases: first, second\n"
    )


@pytest.mark.traced
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeats": 0}, "0 repeats"),
        ({"threads": 0}, "0 threads"),
    ],
)
def test_less_than_one_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        bench(["size-1x1x8x8"], **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where it is missing")
@pytest.mark.traced
def test_a_missing_gpu_is_refused(monkeypatch):
    with pytest.raises(InputError, match="device cuda was asked for"):
        bench([], device="cuda")
    with pytest.raises(InputError, match="cuda: not for cpu; give --device cuda"):
        bench(["cuda"])


def test_without_names_quick_takes_the_quick_cases(monkeypatch, file):
    first = toy(name="first")
    object.__setattr__(first, "quick", True)
    gpu = toy(interrupting, name="second")
    object.__setattr__(gpu, "device", "cuda")
    install(monkeypatch, first, toy(interrupting, name="slow"), gpu)
    assert run(file) == 0
    assert measured(file) == ALL[:2]


@pytest.mark.parametrize(("option", "repeats"), [([], 15), (["--quick"], 5)])
def test_repeats_unless_given(monkeypatch, file, option, repeats):
    install(monkeypatch, toy())
    assert main(["bench", "toy", "--json", str(file), *option]) == 0
    found = json.loads(file.read_text())
    assert found["repeats"] == found["rows"][0]["rival_runs"] == repeats
    assert found["quick"] == bool(option)


def test_a_tiny_case_from_end_to_end(capsys, file):
    assert run(file, "size-1x1x8x8") == 0
    found = json.loads(file.read_text())
    assert {"machine", "versions", "commit", "threads", "repeats"} <= set(found)
    assert [row["pass"] for row in found["rows"]] == ["forward", "forward+backward"]
    for row in found["rows"]:
        assert row["verified"] is True
        assert row["shape"] == [1, 1, 8, 8]
        assert row["backend"] in ("aten", "cpu")
        assert row["ratio"] == pytest.approx(row["rival_ms"] / row["ours_ms"], rel=1e-3)
        assert 0 < row["floor_ms"] < row["ours_ms"] <= row["ours_median_ms"]
    assert capsys.readouterr().out.count("affine_grid + grid_sample") == 2
