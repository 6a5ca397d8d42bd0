"""Formulas as MathML, which browsers show without a script: so pages need no network access, and no LaTeX."""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.errors import ExtensionError


def _markup(node, display):
    source = node.astext()
    try:
        markup = latex2mathml.tex2mathml(source)
    except (ValueError, SyntaxError) as error:
        raise ExtensionError(f"formula {source!r}: {error}") from error
    return markup.replace("<math ", '<math display="block" ', 1) if display else markup


def _inline(translator, node):
    translator.body.append(_markup(node, display=False))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(f'<div class="formula">{_markup(node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
