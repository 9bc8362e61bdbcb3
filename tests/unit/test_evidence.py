"""Tables of evidence: each section is written in place of its former one, and nothing without a page to write."""

from pathlib import Path

import pytest

from tests.evidence import PAGE, Compared, write_table


def test_a_table_takes_the_place_of_its_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nWords.\n")
    write_table("one", ("a", "b"), [(1, 2)])
    assert page.read_text() == "# Title\n\nWords.\n"
    monkeypatch.setenv(PAGE, str(page))
    for section, row in (("one", (1, 2)), ("two", (3, 4)), ("one", (5, 6))):
        write_table(section, ("a", "b"), [row])
    text = page.read_text()
    assert text.startswith("# Title\n\nWords.\n\n## one\n") and text.index("## one") < text.index("## two")
    assert text.count("| a | b |\n| --- | --- |\n") == 2 and text.count("| 5 | 6 |\n") == 1 and "| 1 | 2 |" not in text


def test_the_largest_difference_is_kept_and_what_is_undefined_has_none() -> None:
    compared = Compared()
    compared.note("mean", [1.0, float("nan")], [1.5, float("nan")])
    compared.note("mean", 2.0, 2.25)
    assert compared.rows() == [("mean", "3", "5.0e-01")]
