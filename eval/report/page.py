"""The shell of a page, and its small parts."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from eval.figures import save
from eval.report.pictures import data_url
from eval.table import estimate

_HERE = Path(__file__).parent


class Section(NamedTuple):
    """A part of the page with a heading."""

    title: str
    body: str
    """HTML; an empty section is left out."""


def page(title: str, under: str, opening: str, sections: Sequence[Section], scripted: bool) -> str:
    """A whole page in one file.

    Args:
      title: of the page.
      under: a line below it.
      opening: HTML before the first section.
      sections: in their order.
      scripted: whether it holds a player.
    """
    shown = [section for section in sections if section.body]
    names = [section.title.lower().replace(" ", "-") for section in shown]
    contents = "".join(
        f'<li><a href="#{name}">{escape(section.title)}</a></li>'
        for name, section in zip(names, shown, strict=True)
    )
    bodies = "\n".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(section.title)}</h2>\n'
        f"{section.body}\n</section>"
        for name, section in zip(names, shown, strict=True)
    )
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "player.js").read_text(encoding="utf-8") if scripted else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(" – ".join(part for part in (title, under) if part))}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}</h1>
<p class="under">{escape(under)}</p>
</header>
{opening}
<nav aria-label="Contents"><ul>{contents}</ul></nav>
{bodies}
</main>
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


def chart(draw: Callable[[str], Figure | None], words: str, caption: str = "") -> str:
    """A figure that follows the reader's theme; nothing where there is none to draw.

    Args:
      draw: theme -> figure.
      words: what is to be seen, for those who do not see it.
      caption: HTML.
    """
    addresses = {}
    for theme in ("light", "dark"):
        figure = draw(theme)
        if figure is None:
            return ""
        buffer = io.BytesIO()
        save(figure, buffer, "svg")
        addresses[theme] = data_url("image/svg+xml", buffer.getvalue())
    under = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class="chart"><div class="scroll" tabindex="0" role="group" '
        f'aria-label="{escape(words)}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{addresses["dark"]}">'
        f'<img src="{addresses["light"]}" alt="{escape(words)}"></picture></div>{under}</figure>'
    )


def scrolling(table: str, words: str) -> str:
    """A table that scrolls inside itself.

    Args:
      words: what it holds.
    """
    attributes = f'class="scroll tall" tabindex="0" role="region" aria-label="{escape(words)}"'
    return f"<div {attributes}>{table}</div>"


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], words: str) -> str:
    """A table whose first column names the rows.

    Args:
      head: titles of the columns.
      rows: cells as HTML; a row of one cell is the heading of those below it.
      words: what the table holds.
    """
    top = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    lines = []
    for first, *rest in rows:
        if rest:
            cells = "".join(f"<td>{cell}</td>" for cell in rest)
            lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
        else:
            heading = f'<th colspan="{len(head)}" scope="rowgroup">{first}</th>'
            lines.append(f'<tr class="group">{heading}</tr>')
    body = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return scrolling(f'<table class="plain">{body}</table>', words)


def folded(lines: Sequence[str], title: str) -> str:
    """A list that opens when asked to; nothing for no lines.

    Args:
      lines: HTML.
    """
    if not lines:
        return ""
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<details><summary>{escape(title)}</summary><ul>{items}</ul></details>"


def typeset(text: str) -> str:
    """Text with a minus where a hyphen stands before a number."""
    return re.sub(r"(?<![\w.])-(?=\.?\d)", "−", text)


def measure(value: Mapping[str, float] | None, signed: bool = False) -> str:
    """A measure with its interval smaller beside it, or a dash."""
    text = typeset(estimate(dict(value) if value else None, signed))
    number, _, interval = text.partition(" ")
    return f"{number} <small>{interval}</small>" if interval else number


def facts(known: Mapping[str, str]) -> str:
    """Labels and values."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in known.items())
    return f'<dl class="facts">{rows}</dl>'


def links(files: Mapping[str, str]) -> str:
    """The files beside the page.

    Args:
      files: what is in them, by name.
    """
    items = "".join(
        f'<li><a href="{escape(name)}">{escape(name)}</a>: {escape(words)}</li>'
        for name, words in files.items()
    )
    return f"<ul>{items}</ul>" if items else ""
