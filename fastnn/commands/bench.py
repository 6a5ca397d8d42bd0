"""``fastnn bench``: this machine's times of a training step, in fastnn and in the libraries that are installed."""

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from .. import hints, info
from . import UsageError, contenders, places

NETS = ("30-16-2x64", "64-32-10x32", "64-100-10x200", "784-128-10x128", "784-256-128-10x128")
_LONGEST = 600  # seconds of one library, which may hang


def lines(say, json, plot, libraries, nets, seconds):
    """Time, and yield a table or JSON."""
    nets = [_checked_net(net) for net in nets or NETS]
    libraries = _checked_libraries(libraries)
    if not 0 < seconds <= 60:
        raise UsageError(f"--seconds must be above 0 and at most 60, got {seconds:g}")
    places.check_output(plot)
    if plot is not None:
        from . import pictures  # before the work, as matplotlib may be missing

        pictures.check(plot)
    results = measured(say, libraries, nets, seconds)
    if plot is not None:
        pictures.of_times(results, plot)
    yield from _json(results) if json else _table(results)


def _checked_net(net):
    try:
        contenders.net_of(net)
    except ValueError as error:
        raise UsageError(f"--nets: {error}") from None
    return net


def _checked_libraries(libraries):
    for library in libraries or ():
        if library not in contenders.LIBRARIES:
            told = hints.did_you_mean(library, contenders.LIBRARIES)
            raise UsageError(f"--libraries: {library!r} is none of {', '.join(contenders.LIBRARIES)}{told}")
    wanted = libraries or contenders.LIBRARIES
    return ["fastnn", *(library for library in contenders.LIBRARIES if library in wanted and library != "fastnn")]


def measured(say, libraries, nets, seconds):
    """The results as JSON holds them.

    Parameters
    ----------
    say : callable
    libraries, nets : list of str
        fastnn is the first library.
    seconds : float
        Of each timing, at least.

    Returns
    -------
    dict
        Facts of the machine; "rows", a list of dicts; "left_out", why a library is not among them.
    """
    facts, rows, left_out = info(), [], {}
    results = {name: facts[name] for name in ("version", "backend", "isa", "cpu", "threads")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        say(f"other processes use this machine (load {load:.1f}): the times are those of a busy one")
    results["date"] = datetime.date.today().isoformat()
    for library in libraries:
        found = _found(say, library, nets, seconds)
        if "error" in found:
            if library == "fastnn":
                raise ValueError(f"fastnn itself could not be timed: {found['error']}")
            left_out[library] = found["error"]
            continue
        rate = results.setdefault("flops_a_second", found.get("flops_a_second"))
        for net in nets:
            spent = found["seconds"][net]
            share = contenders.flops(*contenders.net_of(net)) / spent / rate
            rows.append({"net": net, "library": library, "version": found["version"], "seconds": spent, "share": share})
    return results | {"rows": rows, "left_out": left_out}


def _found(say, library, nets, seconds):
    if importlib.util.find_spec(library) is None:
        return {"error": "not installed"}
    say(f"timing {library}")
    return _timed(library, nets, seconds)


def _timed(library, nets, seconds):
    """What contenders.py prints for a library, in a process of its own; {"error": why} if it fails."""
    root = str(Path(__file__).parents[2])  # the same copy of fastnn
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    env |= {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}
    command = [sys.executable, "-m", "fastnn.commands.contenders", library, str(seconds), *nets]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {_LONGEST} seconds"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _json(results):
    yield from json.dumps(results, indent=2).splitlines()


def _table(results):
    libraries = list(dict.fromkeys(row["library"] for row in results["rows"]))
    seconds = {(row["net"], row["library"]): row["seconds"] for row in results["rows"]}
    nets = list(dict.fromkeys(row["net"] for row in results["rows"]))
    yield (
        f"fastnn {results['version']} ({results['backend']}, {results['isa']}); {results['cpu']}, at most "
        f"{results['threads']} threads; {results['date']}"
    )
    yield "microseconds a training step (SGD, float32), and how many times fastnn's"
    yield ""
    yield f"{'net x batch':<20}{'fastnn':>9}{'share':>7}" + "".join(f"{name:>16}" for name in libraries[1:])
    for net in nets:
        ours = seconds[net, "fastnn"]
        share = next(row["share"] for row in results["rows"] if (row["net"], row["library"]) == (net, "fastnn"))
        others = "".join(
            f"{1e6 * seconds[net, name]:>9.1f} {seconds[net, name] / ours:>5.1f}x" for name in libraries[1:]
        )
        yield f"{net:<20}{1e6 * ours:>9.1f}{share:>7.0%}{others}"
    yield ""
    rate = results["flops_a_second"] / 1e9
    yield f"share: of {rate:.0f} GFLOP/s, the highest rate here of products of 1024 x 1024 matrices, and of these steps"
    versions = {row["library"]: row["version"] for row in results["rows"]}
    yield "versions: " + ", ".join(f"{name} {versions[name]}" for name in libraries)
    for library, why in results["left_out"].items():
        yield f"without {library}: {why}"
