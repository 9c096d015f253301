"""Versions that came as text, as something whose order as text is the order that was meant.

Letter by letter "10" is less than "9", "12:00:00.5Z" less than "12:00:00Z", and an
offset counts for nothing. So numbers are compared by their value and times as
instants (one without a zone as UTC); any other text letter by letter. Of a column
that has several kinds other texts are least, as one may stand for "none", such as
0000-00-00; then come numbers, then times.
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl
from msgspec import Struct

_NUMBER = r"^(?<sign>[+-]?)0*(?<whole>[0-9]*)(?:\.(?<part>[0-9]+))?$"
_IS_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"
_UTC = (
    r"^[0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]+)?(Z|[+-]00:?00)$"
)
_PART = r"^.{19}\.([0-9]+)"
_POWER = r"^[+-]?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}$"
_TIME = (
    r"^(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?<minute>[0-9]{2}:[0-9]{2})(?<second>:[0-9]{2})?(?:[.,](?<part>[0-9]+))?)?"
    r" ?(?:Z|UTC|(?<sign>[+-])(?<hours>[0-9]{2}):?(?<minutes>[0-9]{2})?)?$"
)
_LAST_YEAR = 9999
_DIGITS = "0123456789"
_TEXT, _CODE = "·text", "·code"


def ordered(versions: pl.Series) -> pl.Series:
    """*versions*, each as a text of which the greater one is the later; as they are where they are no text.

    Equal numbers and equal instants are equal, however they were written; null stays null.
    """
    if versions.dtype != pl.String:
        return versions
    texts = versions.alias(_TEXT).to_frame()
    codes = texts.select(_as_utc().alias(versions.name))[versions.name]
    if codes.null_count() == versions.null_count():
        return codes
    # the others cost ten times as much, so each is looked at once
    others = versions.filter(codes.is_null() & versions.is_not_null()).unique()
    code = pl.coalesce(_as_number(), _as_time(), pl.lit("0") + pl.col(_TEXT)).alias(_CODE)
    found = _without_powers(others.alias(_TEXT)).to_frame().select(code)[_CODE]
    return codes.fill_null(versions.replace_strict(others, found, default=None, return_dtype=pl.String))


class Texts(Struct, frozen=True):
    """Texts and what each is compared by, to go back from that to the text."""

    by_code: pl.DataFrame
    """The first text of each code; neither is null."""

    @classmethod
    def of(cls, *columns: pl.Series) -> Texts:
        """Those of all *columns*; of equal ones the first stands for all."""
        texts = pl.concat([column.alias(_TEXT) for column in columns]).drop_nulls().unique(maintain_order=True)
        codes = ordered(texts).alias(_CODE)
        return cls(pl.DataFrame([codes, texts]).unique(_CODE, keep="first", maintain_order=True))

    def written(self, frame: pl.DataFrame) -> pl.DataFrame:
        """*frame* with the texts of what they are compared by, in all columns of text."""
        names = [name for name, kind in frame.schema.items() if kind == pl.String]
        codes, texts = self.by_code[_CODE], self.by_code[_TEXT]
        return frame.with_columns(pl.col(name).replace_strict(codes, texts, return_dtype=pl.String) for name in names)


def _without_powers(texts: pl.Series) -> pl.Series:
    """A float that became text: 1e+16 with all its digits."""
    powers = texts.filter(texts.str.contains(_POWER).fill_null(value=False)).unique().to_list()
    return texts.replace({text: f"{Decimal(text):f}" for text in powers}) if powers else texts


def _as_utc() -> pl.Expr:
    """What `_as_time` makes of the usual forms, ten times as fast; null where a text has another."""
    text = pl.col(_TEXT)
    day, time = text.str.slice(0, 10), text.str.slice(11, 8)
    part = text.str.extract(_PART, 1).fill_null("").str.strip_chars_end("0")
    code = pl.concat_str(pl.lit("3"), day, pl.lit("T"), time, pl.lit("."), part)
    return pl.when(text.str.contains(_UTC)).then(code)


def _as_number() -> pl.Expr:
    """Null where a text is none. How many digits are before the point comes first; less than 0 turns all round."""
    found = pl.col(_TEXT).str.extract_groups(_NUMBER).struct
    whole, part = found.field("whole"), found.field("part").fill_null("").str.strip_chars_end("0")
    size = pl.concat_str(whole.str.len_bytes().cast(pl.String).str.zfill(4), whole, pl.lit("."), part)
    turned = size.str.replace_many(list(_DIGITS), list(reversed(_DIGITS)))
    negative = (found.field("sign") == "-") & pl.concat_str(whole, part).str.contains(".")
    code = pl.when(negative).then(pl.concat_str(pl.lit("1"), turned, pl.lit("~"))).otherwise(pl.lit("2") + size)
    return pl.when(pl.col(_TEXT).str.contains(_IS_NUMBER)).then(code)


def _as_time() -> pl.Expr:
    """Null where a text is none."""
    found = pl.col(_TEXT).str.extract_groups(_TIME).struct
    minute, second = found.field("minute").fill_null("00:00"), found.field("second").fill_null(":00")
    local = pl.concat_str(found.field("date"), pl.lit("T"), minute, second)
    time = local.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
    hours, minutes = (found.field(name).cast(pl.Int64, strict=False).fill_null(0) for name in ("hours", "minutes"))
    offset = pl.duration(minutes=hours * 60 + minutes)
    instant = pl.when(found.field("sign") == "-").then(time + offset).otherwise(time - offset)
    # an hour or so beyond the last year that has four digits
    is_beyond = instant.dt.year() > _LAST_YEAR
    plain = instant.dt.strftime("%Y-%m-%dT%H:%M:%S")
    written = pl.when(is_beyond).then(pl.lit("9999-12-31T23:59:60")).otherwise(plain)
    part = found.field("part").fill_null("").str.strip_chars_end("0")
    return pl.concat_str(pl.lit("3"), written, pl.lit("."), part)
