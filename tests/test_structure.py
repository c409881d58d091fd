"""Who imports whom: no private name crosses a module, and imports point one way."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "cdmeventimporters"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "_modidx.py"))
OTHERS = sorted([*(ROOT / "tests").glob("*.py"), *(ROOT / "bench").glob("*.py")])
LOCAL = {p.stem for p in OTHERS}  # modules of tests and bench, which import each other by these names

# what the modules of a folder may import of this project, besides their own folder
ROOMS = {
    "core": (),
    "dev.author": ("core", "dev.catalog", "dev.errors"),
    "dev.lake": ("core", "dev.catalog", "dev.errors", "dev.terminal"),
    "dev.operate": ("core", "dev.catalog", "dev.errors", "dev.terminal", "dev.lake"),
    "dev.catalog": ("core", "dev.errors"),
    "dev.dictionary": ("core", "dev.catalog", "dev.terminal"),
    "dev.errors": (),
    "dev.terminal": (),
    "dev.display": ("dev.terminal",),
    "dev.cli": ("core", "dev"),
}


def name_of(path: Path) -> str:
    """The name of a module of the package, without the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def is_private(name: str) -> bool:
    """Whether a name is a module's own."""
    return name.startswith("_") and not name.startswith("__")


def imports(path: Path) -> list[tuple[str, str | None, str]]:
    """The imports of a file: module, name in it if there is one, and what it is called here. Relative ones are resolved."""
    here = ["cdmeventimporters", *name_of(path).split(".")[:-1]] if path.is_relative_to(PACKAGE) else []
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(a.name, None, a.asname or a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(module, a.name, a.asname or a.name) for a in node.names]
    return found


def is_ours(module: str) -> bool:
    """Whether a module is one of this project."""
    return module.split(".")[0] in ("cdmeventimporters", "tests", "bench") or module in LOCAL


def is_module(module: str, name: str | None) -> bool:
    """Whether an import is of a module of ours, not of a name in one."""
    path = ROOT / "/".join([*module.split("."), *([name] if name else [])])
    return module in LOCAL if name is None and module in LOCAL else path.with_suffix(".py").exists() or path.is_dir()


def crossings(path: Path) -> set[str]:
    """The private names of other modules that a file imports, reads as attributes of a module, or replaces there."""
    ours = [(module, name, alias) for module, name, alias in imports(path) if is_ours(module)]
    found = {f"{module}.{name}" for module, name, _ in ours if name and is_private(name)}
    modules = {alias: f"{module}.{name}" if name else module for module, name, alias in ours if is_module(module, name)}
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=owner, attr=name):
                pass
            case ast.Call(args=[owner, ast.Constant(value=str(name)), *_]):  # setattr(module, "_name", …)
                pass
            case _:
                continue
        if is_private(name) and ast.unparse(owner) in modules:
            found.add(f"{modules[ast.unparse(owner)]}.{name}")
    return found


@pytest.mark.parametrize("path", [*MODULES, *OTHERS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_private_name_crosses_a_module(path):
    assert crossings(path) == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    module = name_of(path)
    room = next((r for r in sorted(ROOMS, reverse=True) if f"{module}.".startswith(f"{r}.")), "importers")
    allowed = {"importers": ("core",), **ROOMS}[room]
    prefix = "cdmeventimporters."
    used = {f"{m}.{n}" if n else m for m, n, _ in imports(path) if f"{m}.".startswith(prefix)} - {"cdmeventimporters"}
    wrong = {x for x in used if not any(f"{x}.".startswith(f"{prefix}{r}.") for r in (room, *allowed))}
    assert wrong == set()


def test_every_room_exists():
    assert [r for r in ROOMS if not any(f"{name_of(m)}.".startswith(f"{r}.") for m in MODULES)] == []


@pytest.mark.parametrize("path", [m for m in MODULES if name_of(m).startswith("core.")], ids=name_of)
def test_only_one_module_of_core_knows_a_table_format(path):
    knowing = {
        "core.delta",
        "core.iceberg",
        "core.platform",
        "core.errors",
    }  # the format, which one a session has, and what it raises
    words = {"Delta", "delta", "Hive", "hive", "txnAppId", "DESCRIBE DETAIL", "Iceberg", "iceberg"}
    if name_of(path) not in knowing:
        assert {word for word in words if re.search(rf"(?<![a-z]){word}(?![a-z])", path.read_text())} == set()
