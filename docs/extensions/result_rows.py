"""The directive `.. results:: COMMAND`: the newest rows of benchmarks/RESULTS.md that this command printed, as a table.

Figures have no other place in these pages; so each of them has its command, its CPU and its date.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import results


class Results(SphinxDirective):
    """Options: `what`, the head of the first column; `most`, how many machines; `only`, the first words of the rows;
    `parts`, a regular expression with two groups: a figure that is a list becomes one row for each match.
    """

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012  (docutils' own form)
        "what": directives.unchanged,
        "most": directives.positive_int,
        "only": directives.unchanged,
        "parts": directives.unchanged,
    }

    def run(self):
        command = self.arguments[0]
        self.env.note_dependency(str(results.RESULTS))
        rows = results.newest(command)[: self.options.get("most", 2)]
        if not rows:
            return self._text("Not measured yet. ", nodes.literal("", command), " prints the figures of your machine.")
        items = [dict(self._figures(row)) for row in rows]
        only = self.options.get("only", "").split()
        wanted = [what for what in items[0] if not only or what.split()[0] in only]
        table = [[self.options.get("what", ""), *(f"{_cpu(row)}, {row.date}" for row in rows)]]
        table += [[what, *(of.get(what, "") for of in items)] for what in wanted]
        return [_table(table), *self._source(command, rows)]

    def _figures(self, row):
        parts = self.options.get("parts")
        for what, figure in row.items():
            if parts:
                yield from ((f"{what}: {found[1]}", found[2]) for found in re.finditer(parts, figure))
            else:
                yield what, figure

    def _source(self, command, rows):
        where = "; ".join(f"{row.machine}, {row.date}, commit {row.commit}" for row in rows)
        return self._text("Printed by ", nodes.literal("", command), f". {where}.")

    def _text(self, *parts):
        parts = [nodes.Text(part) if isinstance(part, str) else part for part in parts]
        return [nodes.paragraph("", "", *parts, classes=["results"])]


def _cpu(row):
    """The CPU and what is special about the run, in short."""
    cpu, threads, backend, dtype = [part.strip() for part in row.machine.split(",")][:4]
    cpu = cpu.replace("(R)", "").replace(" Processor", "")
    return f"{cpu} ({backend.split()[-1]}), {'1 thread' if threads.startswith('1 ') else threads}, {dtype}"


def _table(texts):
    width = len(texts[0])
    group = nodes.tgroup("", *(nodes.colspec("", colwidth=1) for _ in range(width)), cols=width)
    lines = [nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in line)) for line in texts]
    group += nodes.thead("", lines[0])
    group += nodes.tbody("", *lines[1:])
    return nodes.table("", group)


def setup(app):
    """Called by Sphinx."""
    app.add_directive("results", Results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
