"""Files: whole or not at all."""

import errno
import json
import os
import shutil

import pytest

from spatial_transformers._files import _mark, whole, whole_files, write_json


def test_round_trip(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, 2.5, "θ"]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, 2.5, "θ"]}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left")])
def test_nothing_half_written_stays(tmp_path, error):
    (tmp_path / "x").write_text("before")

    def half():
        with whole(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises((KeyboardInterrupt, OSError)):
        half()
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "before"


def test_a_long_name_and_what_a_killed_process_left(tmp_path):
    path = tmp_path / ("θ" * 125)  # 250 bytes
    left, new = (tmp_path / f"{_mark(path)}{pid}.partial" for pid in (1, 2))
    left.touch(), new.touch()
    os.utime(left, (0, 0))
    with whole_files(path) as folder:
        shutil.copytree(folder, kept := tmp_path / folder.name.replace(".partial", "2.partial"))
        (folder / path.name).touch()
    (kept / "half").touch()
    os.utime(kept, (0, 0))
    write_json(path, {})
    assert set(tmp_path.iterdir()) == {path, new}
    with whole_files(path) as folder:
        (folder / path.name).write_text("[]")
    assert set(tmp_path.iterdir()) == {path, new}  # which may be written just now
    assert path.read_text() == "[]"


def test_errors_name_the_file_asked_for(tmp_path):
    with pytest.raises(OSError, match=r"none/x'$"), whole(tmp_path / "none" / "x") as temporary:
        temporary.write_text("")
