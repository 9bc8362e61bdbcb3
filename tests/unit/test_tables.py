"""Tables of README and docs/ that follow from the parts are those of the parts that there are."""

import pytest

from bench.tables import PAGES, TABLES, written
from tests.database.helpers import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_of_the_parts(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == written(page), "run `make docs`"


def test_every_table_is_on_one_page() -> None:
    assert sorted(name for names in PAGES.values() for name in names) == sorted(TABLES)
