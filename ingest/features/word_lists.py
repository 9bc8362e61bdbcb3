"""The word lists of SPEC §5, kept exactly as the reference has them (UN, vocab_df.py)."""

NUMBER_WORDS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million "
    "millions billion billions trillion trillions quadrillion quintillion sextillion dozen dozens".split()
)

_FIRST_SINGULAR = frozenset("i me my mine myself".split())
_FIRST_PLURAL = frozenset("we us our ours ourselves".split())
_SECOND = frozenset("you your yours yourself yourselves".split())
_MALE = frozenset("he him his himself".split())
_FEMALE = frozenset("she her hers herself".split())
_NEUTRAL = frozenset("they them their theirs themself themselves".split())
_REFLEXIVE = frozenset("myself ourselves yourself yourselves himself herself itself themselves".split())

PRONOUNS: dict[str, frozenset[str]] = {
    "male": _MALE,
    "female": _FEMALE,
    "neutral": _NEUTRAL,
    "first_person": _FIRST_SINGULAR | _FIRST_PLURAL,
    "second_person": _SECOND,
    "third_person": _MALE | _FEMALE | _NEUTRAL,
    "plural": _FIRST_PLURAL | _NEUTRAL,
    "singular": _FIRST_SINGULAR | _SECOND | _MALE | _FEMALE,
    "subject": frozenset("i we you he she it they".split()),
    "object": frozenset("me us you him her it them".split()),
    "possessive": frozenset("my mine our ours your yours his her hers its their theirs".split()),
    "reflexive": _REFLEXIVE,
    "personal": _FIRST_SINGULAR | _FIRST_PLURAL | _SECOND | _MALE | _FEMALE | _NEUTRAL,
    "indefinite": frozenset(
        "anybody anyone anything each either everybody everyone everything neither nobody nothing one somebody someone "
        "something both few many several all any most none some such".split()
    )
    | {"no one"},
    "demonstrative": frozenset("this that these those".split()),
    "interrogative": frozenset("who whom whose which what".split()),
    "relative": frozenset("who whom whose which that".split()),
    "intensive": _REFLEXIVE,
    "nonreflexive": frozenset("i me we us you he him she her it they them".split()),
}
"""In column order; the feature is is_<name>_pronoun."""

SYMBOLS: dict[str, tuple[str, ...]] = {
    "period": (".",),
    "comma": (",",),
    "exclamation": ("!",),
    "question": ("?",),
    "semicolon": (";",),
    "colon": (":",),
    "dash": ("-",),
    "slash": ("/",),
    "backslash": ("\\",),
    "underscore": ("_",),
    "carrot": ("^",),
    "apostrophe": ("'",),
    "quotation": ('"',),
    "close_paren": (")",),
    "open_paren": ("(",),
    "close_bracket": ("]",),
    "open_bracket": ("[",),
    "close_brace": ("}",),
    "open_brace": ("{",),
    "closing_punc": tuple(")]}>"),
    "opening_punc": tuple("([{<"),
    "math_symbol": tuple("+-*/=<>"),
    "currency": tuple("$€£¥"),
    "dollar": ("$",),
    "double_dollar": ("$$",),
}
"""In column order; the feature contains_<name> is true if any of the strings occurs."""

SUFFIXES = tuple(
    "ness ment tion sion ance ence er or ist ism hood ship age able ible al ial ish ive less ful ous ic ly ward wise ize ise "
    "en ify let ling ie ette dom logy graphy phobia y cy ty ant ent ary ery ing ed s est".split()
)

PREFIXES = tuple(
    "un re in im dis en em non over mis sub pre inter fore de trans super semi anti mid under mono bi tri multi poly ex micro "
    "macro auto tele homo hetero post geo aero hydro thermo electro photo pan mega kilo pseudo neo counter ultra infra circum "
    "peri hemi ped pod bio a b c d e f g h i j k l m n o p q r s t u v w x y z".split()
)

MONTHS = frozenset(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sept "
    "oct nov dec".split()
)
DAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday mon tues wed thurs fri sat sun".split())
STATES = frozenset(
    "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana "
    "iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska "
    "nevada hampshire jersey mexico york carolina dakota ohio oklahoma oregon pennsylvania rhode tennessee texas utah vermont "
    "virginia washington wisconsin wyoming".split()
) | {"west virginia"}
"""Two-word states stand under their second word alone, except rhode and the unreachable "west virginia"."""
STATE_CODES = frozenset(
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI "
    "SC SD TN TX UT VT VA WA WV WI WY".split()
)
WEBSITE_SUFFIXES = frozenset("com net org edu gov mil int io co uk ca ai".split())
LENGTHS = tuple("meter metre inch foot feet yard mile".split())
TIMES = tuple("second minute hour day week month year".split())
CONTRASTIVE = frozenset("but however nonetheless yet nevertheless although".split())
