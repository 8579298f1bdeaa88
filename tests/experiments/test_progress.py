"""Progress of long jobs: lines where no terminal is, and few of them."""

import pytest

from spatial_transformers.experiments import progress


@pytest.mark.parametrize(("minute", "count"), [(0.0, 5), (60.0, 0)])
def test_a_file_gets_lines_each_minute(monkeypatch, capsys, minute, count):
    monkeypatch.setattr(progress, "MINUTE", minute)
    assert [*progress.Bar(range(4), "reading", unit="image", miniters=1)] == [0, 1, 2, 3]
    printed = capsys.readouterr().err
    assert "\r" not in printed
    lines = printed.splitlines()
    assert (len(lines) >= count - 1) if count else not lines
    assert all(line.startswith("reading: ") and "of 4 images" in line for line in lines)
