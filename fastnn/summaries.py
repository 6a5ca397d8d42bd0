"""A network as text: what Network.summary returns."""

import itertools


def of_network(net, backend):
    """A table of the layers; `backend` is the name of the network's."""
    table = rows(net)
    widths = [max(len(row[i]) for row in table) for i in range(5)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([*lines, last_line(net, backend)])


def rows(net):
    """The table's rows of five cells, the header first."""
    table = [("layer", "units", "activation", "W", "parameters")]
    pairs = itertools.pairwise(net.sizes)
    each = zip(pairs, net.activations, (*net.norm, None), strict=True)
    for i, ((n_in, n_out), g, norm) in enumerate(each, start=1):
        count = n_out * (n_in + (3 if norm else 1))
        table.append((str(i), str(n_out), _short(g), f"({n_out}, {n_in})", f"{count:,}"))
    return table


def last_line(net, backend):
    """What is said of the network as a whole."""
    dropout = f", dropout {', '.join(f'{rate:g}' for rate in net.dropout)}" if any(net.dropout) else ""
    norm = f", norm {', '.join(kind or 'none' for kind in net.norm)}" if any(net.norm) else ""
    given = net.standardisation
    adapted = "" if given is None else ", standardises X" if given.y_mean is None else ", standardises X and y"
    inputs = f"{net.sizes[0]} input{'s' * (net.sizes[0] > 1)}"
    return (
        f"{inputs}, {net.n_params:,} parameters, {net.dtype}, loss {_short(net.loss_name)}, "
        f"{backend} backend{dropout}{norm}{adapted}"
    )


def _short(spec):
    return spec if isinstance(spec, str) else f"{spec[0]} {spec[1]}"
