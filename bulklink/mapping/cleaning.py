"""What cells are cleaned by, as macros of the database."""

from __future__ import annotations

from bulklink.mapping.database import literal
from bulklink.mapping.input.jsonl_reader import FLOAT, OTHER
from bulklink.mapping.input.staging import ESCAPES, MARK
from bulklink.mapping.marks import BAD, GOOD, MISSING, ROUNDED
from bulklink.models import EITHER

#: White space that spreadsheets and web pages leave around a cell.
_SPACE = " \t\r\n\v\f\u00a0\u200b\ufeff"
#: A number that went through a spreadsheet or a float: with a point or an exponent.
NUMBER = r"[+-]?[0-9]+([.,][0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"


def macros() -> list[str]:
    """Build the statements that make them."""
    restored = "cell"
    for kind in (FLOAT, OTHER):
        restored = f"replace({restored}, {literal(MARK + kind)}, '')"
    for letter, character in ESCAPES.items():
        restored = f"replace({restored}, {literal(MARK + letter)}, chr({ord(character)}))"
    return [
        f"CREATE MACRO restored(cell) AS "
        f"CASE WHEN contains(cell, {literal(MARK)}) THEN {restored} ELSE cell END",
        f"CREATE MACRO trimmed(cell) AS trim(cell, {literal(_SPACE)})",
        # Few cells have something to trim, and trimming looks at every character.
        "CREATE MACRO is_tidy(cell) AS cell BETWEEN '!' AND '~' AND cell[-1] BETWEEN '!' AND '~'",
        "CREATE MACRO tidy(cell) AS CASE WHEN is_tidy(cell) THEN cell ELSE trimmed(cell) END",
        "CREATE MACRO number(id) AS "
        "CASE WHEN TRY_CAST(id AS UBIGINT)::VARCHAR = id THEN TRY_CAST(id AS UBIGINT) END",
        f"CREATE MACRO unwrapped(cell) AS {_unwrapped()}",
        f"CREATE MACRO odd_grade(cell, id, allowed) AS {_odd_grade()}",
        f"CREATE MACRO guard(cell) AS nullif(array_to_string(list_transform(string_split(cell, "
        f"{literal(EITHER)}), lambda one: lower(unwrapped(one))), {literal(EITHER)}), '')",
    ]


def _unwrapped() -> str:
    """Strip what stands around an id: spaces, an apostrophe, `="…"`, Zoho's prefix."""
    inside = "trimmed(regexp_replace(trimmed(cell), '^''', ''))"
    inside = f"""regexp_replace({inside}, '^="(.*)"$', '\\1', 's')"""
    inside = f"trimmed(regexp_replace(trimmed({inside}), '^''', ''))"
    inside = f"trimmed(regexp_replace({inside}, '^zcrm_', ''))"
    return f"CASE WHEN regexp_full_match(cell, '[0-9A-Za-z]*') THEN cell ELSE {inside} END"


def _odd_grade() -> str:
    """Grade a cell that is not simply an id as it stands."""
    return (
        f"CASE WHEN id IS NULL OR id = '' THEN {MISSING} "
        f"WHEN starts_with(cell, {literal(MARK + FLOAT)}) THEN {ROUNDED} "
        f"WHEN starts_with(cell, {literal(MARK + OTHER)}) THEN {BAD} "
        f"WHEN allowed THEN {GOOD} "
        f"WHEN regexp_full_match(id, {literal(NUMBER)}) THEN {ROUNDED} ELSE {BAD} END"
    )


def filled(cell: str, default: str | None) -> str:
    """Build a text without what stands around it, or else its default; NULL if it is empty."""
    text = f"nullif(tidy({cell}), '')"
    return f"coalesce({text}, {literal(default)})" if default else text
