"""A curve on one line, with and without blocks."""

from types import SimpleNamespace

import pytest

from cli.sparkline import BLOCKS, NUMBERS, WIDTH, sparkline


@pytest.fixture(params=["utf-8", "ascii"])
def encoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    # pytest gives each test a stdout of its own after its fixtures have run
    monkeypatch.setattr("cli.sparkline.sys", SimpleNamespace(stdout=SimpleNamespace(encoding=request.param)))
    return request.param


@pytest.mark.parametrize(
    ("values", "blocks", "numbers"),
    [
        ([], "", ""),
        ([0.0, 0.0], "▁▁ 0–0", "0 0"),
        ([0.0, 0.25, 0.5], "▁▅█ 0–0.5", "0 0.25 0.5"),
        ([1.0], "█ 0–1", "1"),
    ],
)
def test_values_are_drawn_or_written(encoding: str, values: list[float], blocks: str, numbers: str) -> None:
    line = sparkline(values)
    assert line == (blocks if encoding == "utf-8" else numbers)
    line.encode(encoding)


def test_a_long_curve_is_shown_by_means_of_equal_pieces(encoding: str) -> None:
    line = sparkline([0.0] * 500 + [1.0] * 500)
    if encoding == "utf-8":
        assert line == BLOCKS[0] * (WIDTH // 2) + BLOCKS[-1] * (WIDTH // 2) + " 0–1"
    else:
        assert line.split() == ["0"] * (NUMBERS // 2) + ["1"] * (NUMBERS // 2)
