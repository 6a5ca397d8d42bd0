"""The command ``fastnn``: what its arguments mean, and what it prints. The work is done by :mod:`fastnn.commands`."""

import argparse
import ast
import contextlib
import csv
import os
import re
import shlex
import signal
import sys
import warnings

from ._version import __version__
from .commands import Data, UsageError, bench, demo, export, info, inspect, predict, train

_OVERVIEW = """\
fastnn: small neural networks on the CPU.

commands:
  demo      train on the bundled digits (what happens without a command)
  info      version, backend, instruction set, CPU and threads
  bench     time training steps against NumPy and other libraries
  train     learn one column of a table from the others
  predict   predict that column of another table
  inspect   show what a model file holds
  export    write a model as ONNX, C or for PyTorch

'%(prog)s COMMAND --help' tells more; --version is the release."""
# Which arguments of Python's functions are options of the command, in messages of the former.
_OPTIONS = "batch_size|categorical|decimal|delimiter|dropout|drop|encoding|epochs|hidden|lr|missing|patience|task"
_MODULES = (demo, info, bench, train, predict, inspect, export)
_COMMANDS = {module.__name__.rpartition(".")[2]: module for module in _MODULES}
_USERS_MISTAKES = (ValueError, OSError, ImportError, FloatingPointError, MemoryError)
_BROKEN_PIPE = 128 + getattr(signal, "SIGPIPE", 13)  # what a shell says of a program that a closed pipe has ended


def main(argv=None, prog="fastnn"):
    """Run the command line and return the exit code: 0, or 1 with a message on stderr.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; None: ``sys.argv[1:]``.
    prog : str
        The name of the command in messages.

    Returns
    -------
    int

    Raises
    ------
    SystemExit
        After ``--help`` (code 0), and for arguments that are not understood (code 2).
    KeyboardInterrupt, BrokenPipeError
        As they come; :func:`run` ends the process as is the custom.
    """
    args = _parser(prog).parse_args(argv)
    options = {name: value for name, value in vars(args).items() if name not in ("command", "parser")}
    try:
        with _warnings_said():
            show(_COMMANDS[args.command].lines(say, **options))
        with _of_stdout():
            sys.stdout.flush()  # now, so that a full disk is an error
    except BrokenPipeError:
        raise
    except UsageError as error:
        args.parser.error(_as_options(str(error)))
    except _USERS_MISTAKES as error:
        say(f"{args.parser.prog}: error: {_as_options(_of_error(error))}")
        return 1
    return 0


def run(prog="fastnn"):
    """Run the command line as a process, and end it.

    After Ctrl-C and for a closed pipe the exit code is what a shell expects, and nothing but a word is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # there may be no stream
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main(prog=prog)
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except KeyboardInterrupt:
        say(f"{prog}: interrupted")
        _end_by_interrupt()
        code = 128 + signal.SIGINT
    _drop_output()
    sys.exit(code)


def say(text):
    """Print a line on stderr."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # a message that cannot be written changes nothing
            print(_printable(text), file=sys.stderr, flush=True)


def show(lines):
    """Print lines on stdout as they come."""
    for line in lines:
        with _of_stdout():
            print(line if isinstance(line, Data) else _printable(line), file=sys.stdout)


@contextlib.contextmanager
def _of_stdout():
    """Name stdout in an error; without a stdout nothing is written, and that is all right."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from None
    except AttributeError:
        if sys.stdout is not None:
            raise


def _printable(text):
    """One line: names in files and messages of the system may hold any character, and some steer a terminal."""
    line = " ".join(str(text).splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)


def _of_error(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory {error}"
    return str(error)


def _as_options(text):
    """A message of Python's functions with ``drop=['a']`` as ``--drop a``."""

    def option(found):
        try:
            value = ast.literal_eval(found[2])
        except (ValueError, SyntaxError):  # a name with a quotation mark
            return found[0]
        values = value if isinstance(value, list) else [value]
        if found[1] in ("drop", "categorical"):  # lists, as _names reads them
            values = [f'"{each}"' if "," in each else each for each in values]
        return " ".join(f"--{found[1].replace('_', '-')} {shlex.quote(str(each))}" for each in values)

    return re.sub(rf"\b({_OPTIONS})=(\[[^\]]*\]|'[^']*')", option, text)


@contextlib.contextmanager
def _warnings_said():
    """Say each warning in one line, without the place in our code."""

    def shown(message, category, filename, lineno, file=None, line=None):
        say(_as_options(str(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = shown
        yield


def _end_by_interrupt():
    """End as an interrupted program does, so that a shell ends the loop that it runs it in."""
    if os.name == "posix":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _drop_output():
    """Flush both streams; what cannot be written is dropped, else Python would complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# --- arguments ------------------------------------------------------------------------------------


class _Help(argparse.HelpFormatter):
    """Help in lines of one kind, so that it fits a screen."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=26, width=80)

    def _fill_text(self, text, width, indent):
        return text

    def start_section(self, heading):
        super().start_section(None)

    def _format_action_invocation(self, action):
        value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar}"
        return ", ".join(action.option_strings) + value


def _parser(prog):
    parser = argparse.ArgumentParser(prog=prog, usage="%(prog)s [COMMAND] ...", formatter_class=_Help, add_help=False)
    parser.description = _OVERVIEW.replace("%(prog)s", prog)
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}", help=argparse.SUPPRESS)
    parser.set_defaults(command="demo", parser=parser)
    commands = parser.add_subparsers(prog=prog, metavar="COMMAND", help=argparse.SUPPRESS)
    for add in (_demo, _info, _bench, _train, _predict, _inspect, _export):
        add(commands)
    return parser


def _command(commands, name, usage, about):
    parser = commands.add_parser(name, formatter_class=_Help, add_help=False, description=about)
    parser.usage = f"%(prog)s {usage}".rstrip()
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    parser.set_defaults(command=name, parser=parser)
    return parser


def _demo(commands):
    _command(commands, "demo", "", "Train a small network on the bundled digits with each backend, and time it.")


def _info(commands):
    _command(commands, "info", "", "Print version, backend, instruction set, CPU and threads, one line each.")


def _bench(commands):
    parser = _command(
        commands,
        "bench",
        "[--json] [--plot FILE] [options]",
        "Time a training step of several networks (SGD, float32), in fastnn, in NumPy\n"
        "by hand, and in torch, jax and scikit-learn where they are installed.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--plot", metavar="FILE", help="draw the times as well (needs matplotlib)")
    parser.add_argument("--libraries", type=_names, metavar="A,B", help="only these of fastnn,numpy,torch,jax,sklearn")
    parser.add_argument("--nets", type=_names, metavar="N", help="such as 64-32-10x32,784-128-10x128 (x batch)")
    parser.add_argument("--seconds", type=float, default=0.3, metavar="S", help="of each timing (0.3)")


def _train(commands):
    parser = _command(
        commands,
        "train",
        "DATA --target COLUMN [-o MODEL] [options]",
        "Learn a column of DATA (a CSV or Parquet file; - is stdin) from the others.\n"
        "Columns go by name, or by number (from 0) in a file without a header.",
    )
    parser.add_argument("data", help=argparse.SUPPRESS)
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("-o", "--output", metavar="MODEL", help="file for the model, such as model.npz")
    parser.add_argument("--plot", metavar="FILE", help="draw a report, such as report.png (needs matplotlib)")
    parser.add_argument("--drop", type=_names, action="extend", metavar="A,B", help="columns to leave out")
    parser.add_argument(
        "--categorical", type=_names, action="extend", metavar="A,B", help="numbers that are categories"
    )
    parser.add_argument("--task", metavar="T", help="classification or regression (else by the target)")
    parser.add_argument("--hidden", type=_sizes, metavar="N,N", help="units of the hidden layers (64,32)")
    for name, kind, told in (
        ("--epochs", int, "the most passes over the data, in a first training (300)"),
        ("--lr", float, "learning rate (0.001)"),
        ("--dropout", float, "share of units to drop in training (0)"),
        ("--patience", int, "epochs without a gain that end training (20)"),
        ("--seed", int, "of all that is random (0)"),
    ):
        parser.add_argument(name, type=kind, metavar="N" if kind is int else "X", help=told)
    _add_reading(parser)


def _predict(commands):
    parser = _command(
        commands,
        "predict",
        "MODEL DATA [-o OUT] [options]",
        "Predict a column of DATA (a CSV or Parquet file; - is stdin) with a model of\n"
        "'train'. Columns are found by name; those that are not needed are skipped.",
    )
    parser.add_argument("model", help=argparse.SUPPRESS)
    parser.add_argument("data", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", metavar="OUT", help="CSV file for the predictions (else stdout)")
    parser.add_argument("--probabilities", action="store_true", help="a column for the probability of each class, too")
    _add_reading(parser)


def _inspect(commands):
    parser = _command(commands, "inspect", "MODEL", "Show what a model file holds: columns, score, network.")
    parser.add_argument("model", help=argparse.SUPPRESS)


def _export(commands):
    parser = _command(
        commands,
        "export",
        "MODEL --to onnx|c|torch [-o FILE]",
        "Write the network of a model file for other programs. That of a table takes\nthe inputs that 'inspect' lists.",
    )
    parser.add_argument("model", help=argparse.SUPPRESS)
    parser.add_argument("--to", required=True, choices=("onnx", "c", "torch"), help="onnx, c, or torch", metavar="KIND")
    parser.add_argument("-o", "--output", metavar="FILE", help="else named as the model, with .onnx, .c or .pt")


def _add_reading(parser):
    """The options of read_table."""
    header = parser.add_mutually_exclusive_group()
    header.add_argument("--header", action="store_true", default=None, help="the first line has names (else: found)")
    header.add_argument("--no-header", dest="header", action="store_false", default=None, help="it has none")
    parser.add_argument("--delimiter", type=_delimiter, metavar="C", help="between cells (else found); \\t is a tab")
    parser.add_argument("--decimal", choices=(".", ","), metavar="C", help="decimal point or comma (.)")
    parser.add_argument("--encoding", metavar="NAME", help="of the text (utf-8)")
    parser.add_argument("--missing", action="append", metavar="TEXT", help="a cell that means missing, beside ? NA ...")


def _names(text):
    (names,) = csv.reader([text], skipinitialspace=True)  # a name with a comma in quotation marks
    if not names or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name")
    return names


def _sizes(text):
    try:
        return [int(n) for n in text.split(",") if n.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 128,64") from None


def _delimiter(text):
    found = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(found) != 1 or found in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, such as ';' or '\\t'")
    return found
