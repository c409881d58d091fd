"""What a declared table should hold after a job: a slow parser in plain Python that shares no code with the engine."""

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

REALS = {"float": (24, 128), "double": (53, 1024)}  # bits of precision, and the power of two that is too large
WHOLES = {"int": 31, "bigint": 63}  # the power of two that is too large
FAR = 10**6  # decimal places: no number that is shifted this far fits any type


class MustFail(Exception):
    """The job must not be imported; the text stands in the message."""


@dataclass
class Parsed:
    """The rows of a job, one for each key, and those for the quarantine."""

    rows: list[dict] = field(default_factory=list)  # {column: value}, with `cts_output_file` and `_rescued_data`
    rejected: list[tuple] = field(default_factory=list)  # (file, line, the line as it was, the columns that are wrong)


def parse(files: dict[str, bytes], table, quarantine: bool) -> Parsed:
    """What the bytes of these reports, {path: bytes}, come to."""
    texts = {file: _lines(data) for file, data in files.items()}
    faulty = [file for file, lines in texts.items() if _is_faulty(lines, table)]
    if faulty:
        raise MustFail(f" {len(faulty)} of {len(files)} output files cannot be imported:\n")
    if any(line == lines[0][1] for lines in texts.values() for _, line in lines[1:]):
        raise MustFail(" A file does not hold one header line and then its rows, ")
    parsed, count = Parsed(), 0
    for file, lines in sorted(texts.items()):
        header = _header(lines, table)
        for number, line in lines[1:]:
            count += 1
            row, wrong = _row(line.split(table.separator), header, table)
            if wrong:
                parsed.rejected.append((file, number, line, wrong))
            else:
                parsed.rows.append(row | {"cts_output_file": file})
    if (bad := len(parsed.rejected)) and (not quarantine or bad == count):
        raise MustFail(f" {bad} of {count} rows {'is' if bad == 1 else 'are'} bad:\n")
    parsed.rows = _folded(parsed.rows, table)
    return parsed


def _lines(data: bytes) -> list[tuple[int, str]] | None:
    """The lines that are not empty, numbered from 1, and without a byte order mark; None if the bytes are not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    return [(number, line) for number, line in enumerate(lines, 1) if line]


def _header(lines: list[tuple[int, str]], table) -> list[str]:
    """The names in the first line, without a byte order mark."""
    return re.sub("^\ufeff+", "", lines[0][1]).split(table.separator)


def _place(column, header: list[str]) -> int | None:
    """Where a file has a column."""
    return next(
        (header.index(name) for name in (column.header or column.name, *column.aliases) if name in header), None
    )


def _is_faulty(lines: list[tuple[int, str]] | None, table) -> bool:
    """Whether a file is wrong as a whole."""
    if not lines:
        return True
    header = _header(lines, table)
    if len(set(header)) < len(header):
        return True
    if any(_place(column, header) is None and not column.since for column in table.tool_columns):
        return True
    return len(lines) > 1 and len(lines[-1][1].split(table.separator)) < len(header)


def _row(cells: list[str], header: list[str], table) -> tuple[dict, list[str] | None]:
    """The values of a line, and the columns that are wrong; `fields` if their number is."""
    if len(cells) != len(header):
        return {}, ["fields"]
    row, wrong, known = {}, [], set()
    for column in table.tool_columns:
        place = _place(column, header)
        known.add(place)
        try:
            row[column.name] = _value(cells[place] if place is not None else "", column, column.name in table.key)
        except ValueError:
            wrong.append(column.name)
    more = {name: cell for place, (name, cell) in enumerate(zip(header, cells, strict=True)) if place not in known}
    return row | {"_rescued_data": json.dumps(more) if more else None}, wrong


def _value(cell: str, column, is_key: bool):
    """The value of a cell; ValueError if it is bad."""
    if cell == "" or (cell in column.nulls and not is_key):
        if column.required or is_key:
            raise ValueError
        return None
    if column.type == "string":
        return cell
    value = _whole(cell, WHOLES[column.type]) if column.type in WHOLES else _real(cell, column)
    _check_range(value, column)
    return value


def _number(cell: str) -> Decimal:
    """The number that is spelt in a cell, exactly."""
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", cell):
        raise ValueError
    mantissa, _, exponent = cell.lower().partition("e")
    sign, digits, places = Decimal(mantissa).as_tuple()
    shift = int(min(max(Decimal(exponent or 0), -FAR), FAR))
    return Decimal((sign, digits, places + shift)) if any(digits) else Decimal(0)


def _whole(cell: str, bits: int) -> int:
    """A whole number, whatever its spelling, that fits."""
    number = _number(cell)
    if number.adjusted() > 99:
        raise ValueError
    _, digits, exponent = number.as_tuple()
    if exponent < 0 and any(digits[exponent:]):
        raise ValueError
    value = int(number)
    if not -(2**bits) <= value < 2**bits:
        raise ValueError
    return value


def _real(cell: str, column) -> float:
    """A number, rounded as its type holds it."""
    if re.fullmatch("[+-]?(nan|inf|infinity)", cell.lower()):
        if not column.nonfinite:
            raise ValueError
        return float(cell)
    value = _rounded(_number(cell), column.type)
    if abs(value) == float("inf"):
        raise ValueError
    return value


def _rounded(number: Decimal, kind: str) -> float:
    """The nearest number of a binary type, of two as near the even one."""
    bits, top = REALS[kind]
    if not number or number.adjusted() < -400:
        return 0.0
    if number.adjusted() > 400:
        return float("inf")
    exact = Fraction(number)
    power = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    power -= Fraction(2) ** power > abs(exact)
    unit = Fraction(2) ** (max(power, 2 - top) - bits + 1)
    value = round(exact / unit) * unit
    return float(value) if abs(value) < 2**top else float("inf")


def _check_range(value, column) -> None:
    """ValueError if a value is outside of the column's range, the ends as the column's type holds them."""
    low, high = (
        _rounded(Decimal(repr(end)), column.type) if end is not None and column.type in REALS else end
        for end in column.between or (None, None)
    )
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError


def _folded(rows: list[dict], table) -> list[dict]:
    """One row for each key, that of the smallest path; MustFail if rows of one key differ."""
    first, differ = {}, set()
    for row in rows:
        key = tuple(row[name] for name in table.tool_key)
        if repr(_said(first.setdefault(key, row))) != repr(_said(row)):
            differ.add(key)
    if differ:
        raise MustFail(f" {len(differ)} {'key has' if len(differ) == 1 else 'keys have'} rows that differ:\n")
    return list(first.values())


def _said(row: dict) -> dict:
    """What the tool says in a row; zeros are equal, whatever their sign."""
    return {
        name: value or 0 if isinstance(value, float) else value
        for name, value in row.items()
        if name != "cts_output_file"
    }
