"""The ledger of claims as a table: text that can be selected, searched and read aloud, with filters."""

from __future__ import annotations

import html

import ipywidgets as widgets
import pandas as pd

from gancomp_core.course.output import display_widget

ALL = "all"
COLUMNS = {"status": "Status", "paper": "Paper", "claim": "Claim", "evidence": "Evidence", "notes": "Notes"}


class Ledger:
    """Menus for status and paper, a box for words, and the table of the claims that they leave.

    Args:
        book: The ledger, with the columns of ``COLUMNS``.
    """

    def __init__(self, book: pd.DataFrame) -> None:
        self.book, self.text = book, book[list(COLUMNS)].agg(" ".join, axis=1).str.lower()
        style, wide = {"description_width": "initial"}, widgets.Layout(width="auto", flex="1 1 220px")
        self.menus = {
            name: widgets.Dropdown(options=[ALL, *book[name].unique()], description=word, style=style, layout=wide)
            for name, word in (("status", "Status"), ("paper", "Paper"))
        }
        self.words = widgets.Text(description="Words", placeholder="such as: wavelet", style=style, layout=wide)
        self.count, self.table = widgets.HTML(), widgets.HTML()
        inputs = [*self.menus.values(), self.words]
        for each in inputs:
            each.observe(lambda _: self.filter(), names="value")
        self.filter()
        row = widgets.HBox(inputs, layout=widgets.Layout(flex_flow="row wrap"))
        self.box = widgets.VBox([row, self.count, self.table])

    def filter(self) -> None:
        """Show the claims that all three inputs leave."""
        left = pd.Series(True, index=self.book.index)
        for name, menu in self.menus.items():
            left &= (menu.value == ALL) | (self.book[name] == menu.value)
        for word in self.words.value.lower().split():
            left &= self.text.str.contains(word, regex=False)
        some = self.book[left]
        self.count.value = f'<p role="status">{len(some)} of {len(self.book)} claims</p>'
        self.table.value = table(some)


def table(book: pd.DataFrame) -> str:
    """The claims as an HTML table, each status as the heading of its row."""
    left = 'style="text-align:left;vertical-align:top;white-space:normal"'
    head = "".join(f'<th scope="col" {left}>{word}</th>' for word in COLUMNS.values())
    rows = []
    for entry in book[list(COLUMNS)].itertuples(index=False):
        status, *others = (html.escape(str(each)) for each in entry)
        cells = "".join(f"<td {left}>{each}</td>" for each in others)
        rows.append(f'<tr><th scope="row" {left}>{status}</th>{cells}</tr>')
    body = "".join(rows) or f'<tr><td colspan="{len(COLUMNS)}">No claim of this kind.</td></tr>'
    around = '<div style="overflow-x:auto" tabindex="0" role="region" aria-label="The claims">'  # scrolls by keys too
    return f"{around}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def show_ledger(book: pd.DataFrame) -> None:
    """Display the ledger with its filters; readers without a kernel see the whole table.

    Args:
        book: What ``lab.benchmark.ledger()`` returns, or a part of it.
    """
    display_widget(Ledger(book).box, fallback=table(book))
