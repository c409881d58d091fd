"""What a declared table should hold after a job: a slow parser in plain Python that shares no code with the engine."""

import json
import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from cdmeventimporters.core.spec import COMMA

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
    texts = {file: lines_of(data) for file, data in files.items()}
    forms = {file: form_of(lines, table) for file, lines in texts.items()}
    faulty = [file for file, form in forms.items() if not form or form.is_cut_off]
    if faulty:
        raise MustFail(f" {len(faulty)} of {len(files)} output files cannot be imported:\n")
    if any(line == form.header for form in forms.values() for _, line in form.rows):
        raise MustFail(" A file does not consist of one header line and rows, ")
    parsed, count = Parsed(), 0
    for file, form in sorted(forms.items(), key=lambda item: item[0]):
        for number, line in form.rows:
            for cells in form.rows_in(line):
                count += 1
                row, wrong = row_of(cells, form, table, file)
                if wrong:
                    parsed.rejected.append((file, number, line, wrong))
                elif row:
                    parsed.rows.append(row | {"cts_output_file": file})
    if (bad := len(parsed.rejected)) and not (quarantine and parsed.rows):
        raise MustFail(f" {bad} of {count} rows {'is' if bad == 1 else 'are'} bad:\n")
    parsed.rows = _folded(parsed.rows, table)
    return parsed


def lines_of(data: bytes) -> list[tuple[int, str]] | None:
    """The lines that are not empty, numbered from 1, and without a byte order mark; None if the bytes are not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    return [(number, line) for number, line in enumerate(lines, 1) if line]


@dataclass
class Form:
    """A file as one of a table's layouts sees it."""

    layout: object
    names: list[str]  # of a line's fields
    header: str | None  # line
    rows: list[tuple[int, str]]  # number and line

    @property
    def columns(self) -> list[str]:
        """The names of a row's fields."""
        if self.layout.transposed:
            return [_fields(line, self.layout, 2)[0] for line in self.rows[0][1].split("\n")]
        if self.layout.tree:
            return [*self.names, self.layout.tree[0]]
        if not self.layout.wide:
            return self.names
        fixed = [name for name in self.names if not re.fullmatch(self.layout.wide[1], name)]
        return [*fixed, self.layout.wide[0], *dict.fromkeys(measure for _, measure in self._samples())]

    def _samples(self) -> dict[tuple[str, str], int]:
        """Where in a line the measures of the samples are."""
        found = ((re.fullmatch(self.layout.wide[1], name), place) for place, name in enumerate(self.names))
        return {(*one.groups(), *self.layout.wide[2:]): place for one, place in found if one}

    def rows_in(self, line: str) -> list[list[str]]:
        """The cells of each row that a line makes."""
        if self.layout.transposed:
            lines = [_fields(one, self.layout, 2) for one in line.split("\n")]
            whole = all(len(one) == len(lines[0]) for one in lines)
            return [list(row) for row in list(zip(*lines, strict=True))[1:]] if whole else [[]] * (len(lines[0]) - 1)
        cells = self.split(line)
        if self.layout.repeated and len(cells) > len(self.names):
            first = cells[: len(self.names) - 1]
            return [[*first, cell] for cell in cells[len(first) :]]
        if self.layout.tree and len(cells) == len(self.names):
            return [[*cells, "\t".join(self._path([one for _, one in self.rows].index(line)))]]
        if not self.layout.wide or len(cells) != len(self.names):
            return [cells if len(cells) == len(self.names) else []]
        places, rows = self._samples(), []
        for sample in dict.fromkeys(sample for sample, _ in places):
            row = {name: cell for name, cell in zip(self.names, cells, strict=True) if name in self.columns}
            row |= {self.layout.wide[0]: sample}
            row |= {measure: cells[place] for (of, measure), place in places.items() if of == sample}
            rows.append([row.get(name, "") for name in self.columns])
        return rows

    def _path(self, nth: int) -> list[str]:
        """The names from the root of a tree to that of a row: before it are those of the last row that is indented less."""
        names = [self.split(line)[self.names.index(self.layout.tree[1])] for _, line in self.rows[: nth + 1]]
        *before, own = [(len(name) - len(name.lstrip(" "))) // 2 for name in names]
        above = next((n for n in range(nth)[::-1] if before[n] < own), None)
        return [*([] if above is None else self._path(above)), names[-1].lstrip(" ")]

    def span(self, row: str, column) -> tuple[int, int] | None:
        """Where in a line or record the first cell of a column begins and ends, with the quotes around it; None if it has none."""
        name = next((n for n in (column.header or column.name, *column.aliases) if n in self.columns), None)
        if name is None or name in ((self.layout.wide or self.layout.tree or ())[:1]):
            return None
        if self.layout.record:
            return re.search(self.layout.patterns[self.names.index(name)], row).span(1)
        if self.layout.transposed:
            line = row.split("\n")[self.columns.index(name)]
            before = len("".join(f"{one}\n" for one in row.split("\n")[: self.columns.index(name)]))
            place, row = 1, line
        else:
            of_samples = (
                {measure: place for (_, measure), place in reversed(self._samples().items())}
                if self.layout.wide
                else {}
            )
            before, place = 0, of_samples[name] if name in of_samples else self.names.index(name)
        gaps = [m.span() for m in re.finditer(self.layout.separator, row)]
        starts, ends = [0] + [end for _, end in gaps], [start for start, _ in gaps] + [len(row)]
        return before + starts[place], before + ends[place]

    def split(self, line: str) -> list[str]:
        """The fields of a line, or of a record."""
        if self.layout.record:
            found = (re.search(pattern, line) for pattern in self.layout.patterns)
            return [(one[1] or "") if one else "" for one in found]
        if self.layout.left_aligned:
            return self._aligned(line)
        fields = _fields(line, self.layout, len(self.names))
        missing = len(self.names) - len(fields)
        return fields + [""] * missing if self.layout.ragged and missing > 0 else fields

    def _aligned(self, line: str) -> list[str]:
        """The fields of a line whose numbers are its last words, and whose others begin where their names do, seen from the right."""
        count = self.layout.left_aligned
        _, *numbers = line.rsplit(maxsplit=len(self.names) - count)
        shift = len(line) - len(self.header)
        begins = [self.header.index(name) + shift for name in self.names[:count]]
        words = [line[max(begin, 0) : end] for begin, end in pairwise([0, *begins[1:], len(line)])]
        return [*(word.strip() for word in words[:-1]), (words[-1] + " ").split(" ")[0], *numbers]

    @property
    def is_cut_off(self) -> bool:
        """Whether its last line ends too early, or its last record lacks the end."""
        if self.layout.record:
            return not self.rows[-1][1].split("\n")[-1].startswith(self.layout.record[1])
        if self.layout.transposed:
            first, *_, last = (len(_fields(line, self.layout, 2)) for line in self.rows[-1][1].split("\n") * 2)
            return last < first
        if self.layout.left_aligned:
            wide = sum(unicodedata.east_asian_width(letter) in "FW" for letter in self.rows[-1][1]) if self.rows else 0
            return bool(self.rows) and len(self.rows[-1][1]) + wide < len(self.header)
        return bool(self.rows) and len(self.split(self.rows[-1][1])) < len(self.names)


def _fields(line: str, layout, expected: int = 0) -> list[str]:
    """The fields of a line; where blanks separate them, the last of those expected holds the rest."""
    if layout.trailing and (end := re.search(f"({layout.separator})$", line)):
        line = line[: end.start()]
    fields = re.split(layout.separator, line)
    if layout.separator not in ("\t", COMMA) and 0 < expected < len(fields):
        ends = [m.end() for m in re.finditer(layout.separator, line)]
        fields = [*fields[: expected - 1], line[ends[expected - 2] :]]
    unquoted = (re.sub('""', '"', f[1:-1]) if re.fullmatch('".*"', f, re.DOTALL) else f for f in fields)
    return list(unquoted) if layout.quoted else fields


def form_of(lines: list[tuple[int, str]] | None, table) -> Form | None:
    """How a file is to be read; None if it is wrong as a whole."""
    for layout in table.layouts if lines else ():
        begins = (layout.header or "", layout.comment or "")
        rows = [
            (n, x)
            for n, x in lines
            if not begins[1] or (begins[0] and x.startswith(begins[0])) or not x.startswith(begins[1])
        ]
        if rows and (form := _fitting(rows, layout, table)):
            return form
    return None


def _fitting(rows: list[tuple[int, str]], layout, table) -> Form | None:
    """The form of a file that has this layout; None if it has not."""
    if layout.record:
        records = _records(rows, layout.record[0])
        return Form(layout, list(layout.fields), None, records) if records else None
    first, expected = re.sub("^\ufeff+", "", rows[0][1]), len(layout.fields)
    if layout.header is None:
        fields = _fields(first, layout, expected)
        fits = len(fields) == expected or (layout.ragged if len(fields) < expected else layout.repeated)
        for column in table.columns if layout.ragged or layout.repeated else ():
            if column.pattern and (place := place_of(column, layout.fields)) is not None:
                cells = fields[place:] if layout.repeated and place == expected - 1 else fields[place : place + 1]
                found = [cell for cell in cells if cell] or [""] * column.required
                fits = fits and all(re.fullmatch(column.pattern, cell) for cell in found)
        return Form(layout, list(layout.fields), None, rows) if fits else None
    if layout.transposed:
        records = _records(rows, layout.header)
        form = Form(layout, [], None, records) if records else None
        names = form.columns if form and len(_fields(first, layout, 2)) > 1 else [""] * 2
    else:
        names = list(layout.fields) or _fields(first, layout)
        form = Form(layout, names, rows[0][1], rows[1:])
    once = [name for name in names if name not in layout.twice]
    if not first.startswith(layout.header) or len(set(once)) < len(once):
        return None
    if not layout.fields and layout.keep_where and layout.keep_where[0] not in names:
        return None
    columns = [c for c in table.tool_columns if not c.extract_from_path and not c.since]
    if layout.wide and not any(re.fullmatch(layout.wide[1], name) for name in names):
        return None
    return form if layout.fields or all(place_of(c, form.columns) is not None for c in columns) else None


def _records(lines: list[tuple[int, str]], begins: str) -> list[tuple[int, str]] | None:
    """The records that these lines make, each with the number of its first line; None if they begin with something else."""
    if not lines[0][1].startswith(begins):
        return None
    starts = [n for n, (_, line) in enumerate(lines) if line.startswith(begins)] + [len(lines)]
    return [(lines[start][0], "\n".join(line for _, line in lines[start:end])) for start, end in pairwise(starts)]


def place_of(column, names: list[str]) -> int | None:
    """Where a file has a column."""
    return next((names.index(name) for name in (column.header or column.name, *column.aliases) if name in names), None)


def row_of(cells: list[str], form: Form, table, file: str) -> tuple[dict, list[str] | None]:
    """The values of a line, none if it is left out, and the columns that are wrong; `fields` if their number is."""
    if len(cells) != len(form.columns):
        return {}, ["fields"]
    left_out, known = form.layout.keep_where or (), set()
    unwanted = left_out and not re.fullmatch(left_out[1], cells[form.columns.index(left_out[0])])
    if unwanted and all(_is_shaped(column, cells, form) for column in table.tool_columns if column.pattern):
        return {}, None
    row, wrong = {}, []
    for column in table.tool_columns:
        place = None if column.extract_from_path else place_of(column, form.columns)
        known.add(place)
        cell = cells[place] if place is not None else ""
        if column.extract_from_path:
            cell = found[1] if (found := re.search(column.extract_from_path, file)) else ""
        if column.extract:
            cell = found[1] if (found := re.search(column.extract, cell)) else ""
        if column.type not in ("string", "array<string>"):
            cell = _plain(cell, form.layout)
        try:
            row[column.name] = _value(cell, column, table)
        except ValueError:
            wrong.append(column.name)
    more = {
        name: _plain(cell, form.layout)
        for place, (name, cell) in enumerate(zip(form.columns, cells, strict=True))
        if place not in known and name not in (*left_out[:1], *form.layout.twice)
    }
    return row | {"_rescued_data": json.dumps(more, separators=(",", ":"), ensure_ascii=False) if more else None}, wrong


def _is_shaped(column, cells: list[str], form: Form) -> bool:
    """Whether a cell matches the column's pattern, or is empty or not there."""
    place = place_of(column, form.columns)
    return place is None or cells[place] == "" or bool(re.fullmatch(column.pattern, cells[place]))


def _plain(cell: str, layout) -> str:
    """A number as it is checked."""
    cell = cell.strip(" ") if layout.padded else cell
    grouped = layout.thousands and re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", cell)
    return cell.replace(",", "") if grouped else cell


def _value(cell: str, column, table):
    """The value of a cell; ValueError if it is bad."""
    is_key = column.name in table.required_key
    if cell == "" or (cell in (*table.na_values, *column.na_values) and not is_key):
        if column.required or is_key:
            raise ValueError
        return None
    if column.pattern and not re.fullmatch(column.pattern, cell):
        raise ValueError
    if column.type in ("string", "array<string>"):
        return cell.split(column.separator) if column.separator else cell
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
        key = tuple(row[name] for name in table.key if name != "cts_job_id")
        known = first.setdefault(key, row)
        if (table.if_repeated and known is not row) or repr(_said(known)) != repr(_said(row)):
            differ.add(key)
    if differ:
        what = "several rows" if table.if_repeated else "rows that differ"
        raise MustFail(f" {len(differ)} {'key has' if len(differ) == 1 else 'keys have'} {what}:\n")
    return list(first.values())


def _said(row: dict) -> dict:
    """What the tool says in a row; zeros are equal, whatever their sign."""
    return {
        name: value or 0 if isinstance(value, float) else value
        for name, value in row.items()
        if name != "cts_output_file"
    }
