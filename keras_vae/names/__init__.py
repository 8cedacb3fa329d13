"""Names: specs such as "iwae:50", the registry that they are looked up in, and checks of arguments."""

from keras_vae.names.checks import check_number, check_type, check_whole, checked_widths, nearest, one_of, plain
from keras_vae.names.registry import (
    LEADING,
    arguments,
    bound,
    find,
    hints,
    known,
    known_as,
    make,
    matched,
    name_of,
    roles,
    snake_case,
)
from keras_vae.names.specs import Name, Spec, written

__all__ = [
    "LEADING",
    "Name",
    "Spec",
    "arguments",
    "bound",
    "check_number",
    "check_type",
    "check_whole",
    "checked_widths",
    "find",
    "hints",
    "known",
    "known_as",
    "make",
    "matched",
    "name_of",
    "nearest",
    "one_of",
    "plain",
    "roles",
    "snake_case",
    "written",
]
