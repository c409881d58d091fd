"""Run the demo and keep what it prints, and when, as a picture of a terminal that moves: `make recording`."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from itertools import pairwise
from os import environ

from conftest import ROOT
from rich.console import Console
from rich.text import Text

PICTURE = ROOT / "docs/demo.svg"
LONGEST = 1.5  # seconds of a pause, however long it was
COLUMNS = 100


def lines_of(command: list[str]) -> Iterator[tuple[float, str]]:
    """Each line that a command prints, and when, in seconds."""
    start, wide = time.monotonic(), environ | {"COLUMNS": str(COLUMNS)}
    with subprocess.Popen(command, cwd=ROOT, env=wide, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            print(line, end="")
            yield time.monotonic() - start, line.rstrip()
    if running.returncode:
        sys.exit(f"{' '.join(command)} ended with {running.returncode}.")


def picture(lines: list[tuple[float, str]], title: str) -> str:
    """An SVG of a terminal in which lines come when they came, but for long pauses. No font is fetched."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    for _, line in lines:
        console.print(Text(line), no_wrap=True, crop=True)
    svg = console.export_svg(title=title, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    times, now = [], 0.0
    for (before, _), (then, _) in pairwise([(0.0, ""), *lines]):
        now += min(then - before, LONGEST)
        times.append(now)
    appear = (f"[clip-path$='-line-{n})'] {{ animation-delay: {at:.2f}s }}" for n, at in enumerate(times))
    motion = "@keyframes appear { from { opacity: 0 } }\n@media (prefers-reduced-motion: no-preference) { [clip-path*='-line-'] { animation: appear 0.01s backwards } }"
    return svg.replace("</style>", "\n".join((motion, *appear, "</style>")), 1)


if __name__ == "__main__":
    demo = [(1.0, "$ make demo"), (1.5, "")]
    demo += [(at + 2, line) for at, line in lines_of([sys.executable, "-m", "cdmeventimporters.dev.lake.demo"])]
    PICTURE.write_text(picture(demo, "make demo"))
    print(f"This is now in {PICTURE.relative_to(ROOT)}.")
