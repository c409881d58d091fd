"""Comments on parameters, which fastcore calls docments, as the sections of a docstring that mkdocstrings shows."""

from importlib import import_module

from fastcore.docments import docments
from griffe import Docstring, Extension, Object


def _section(name: str, comments: dict[str, str | None]) -> str:
    """Return a section in Google's style; nothing if it has no items."""
    lines = [f"    {item}: {comment}" for item, comment in comments.items() if comment]
    return "\n".join([f"\n\n{name}:", *lines]) if lines else ""


class Docments(Extension):
    """Add the comments on a function's parameters, and on a dataclass's fields, to its docstring."""

    def _add(self, what: Object, items: str) -> None:
        if what.docstring and what.parent and what.parent.is_module:
            comments = dict(docments(getattr(import_module(what.parent.path), what.name)))
            returned = comments.pop("return", None)
            more = _section(items, comments) + _section("Returns", {"": returned}).replace("    : ", "    ")
            what.docstring = Docstring(what.docstring.value + more, parser="google", parent=what)

    def on_class(self, *, cls, **_) -> None:
        self._add(cls, "Attributes")

    def on_function(self, *, func, **_) -> None:
        self._add(func, "Parameters")
