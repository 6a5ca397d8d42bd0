"""For two runs of the suite that would do the same twice: the second leaves out what is alike.

Where the extension is absent, and where it is there but FASTNN_BACKEND=numpy is set, the same Python code runs, except
for what asks for the extension, or starts a process, which may ask. So the first run notes the tests that passed, but
for those of files of which anything did that (`--note-alike=FILE`); the second leaves these out (`--but-for=FILE`).
What the first one skipped, or did not have, is run in the second. (With a space, pytest takes FILE for one of tests.)
"""

import sys
from pathlib import Path

import pytest

ASKS = "asks for the extension, or starts a process"
STARTS = ("subprocess.", "os.fork", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "cpython.PyInterpreter")


def file_of(nodeid):
    """The file of a test."""
    return nodeid.partition("::")[0]


def add_options(parser):
    """The two options."""
    group = parser.getgroup("runs that are alike")
    group.addoption("--note-alike", metavar="FILE", help="note tests that are the same with FASTNN_BACKEND=numpy")
    group.addoption("--but-for", metavar="FILE", help="leave out the tests that another run noted")


def configure(config):
    """Registers what the options ask for; with pytest-xdist the workers watch, and the first process notes."""
    if file := config.getoption("--but-for"):
        config.pluginmanager.register(LeavesOut(file))
    if file := config.getoption("--note-alike"):
        config.pluginmanager.register(Watches())
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(Notes(file))


class Watches:
    """Marks the reports of each test in a file of which something asked, while it was imported or run."""

    def __init__(self):
        import _posixsubprocess  # which multiprocessing calls, and no event tells of; not on Windows

        self.file, self.asked = None, set()
        sys.addaudithook(self.hear)
        fork_exec = _posixsubprocess.fork_exec

        def told(*arguments):
            self.hear("subprocess.", ())
            return fork_exec(*arguments)

        _posixsubprocess.fork_exec = told

    def hear(self, event, arguments):
        """Python's own events, from any thread."""
        if self.file and (event.startswith(STARTS) or (event == "import" and arguments[0] == "fastnn._core")):
            self.asked.add(self.file)

    def while_it_runs(self, nodeid):
        """What happens in a hook is of this file."""
        self.file = file_of(nodeid)
        try:
            return (yield)
        finally:
            self.file = None

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        """Import of a file of tests."""
        return (yield from self.while_it_runs(collector.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        """A test with its fixtures."""
        return (yield from self.while_it_runs(item.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        """Tells the process that notes."""
        if self.file in self.asked:
            item.user_properties.append((ASKS, True))
        return (yield)


class Notes:
    """Writes the ids of the tests that passed, of files of which nothing asked."""

    def __init__(self, file):
        self.file, self.passed, self.asked = Path(file), set(), set()

    def pytest_runtest_logreport(self, report):
        """Three times for each test."""
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        if (ASKS, True) in map(tuple, report.user_properties):
            self.asked.add(file_of(report.nodeid))

    def pytest_sessionfinish(self):
        """A test that failed while it was put away is an error of the run, which ends what calls it."""
        alike = sorted(name for name in self.passed if file_of(name) not in self.asked)
        self.file.write_text("".join(f"{name}\n" for name in alike))


class LeavesOut:
    """Deselects the tests of a file of ids."""

    def __init__(self, file):
        self.names = set(Path(file).read_text().splitlines())

    def pytest_collection_modifyitems(self, config, items):
        """Before anything runs."""
        out = [item for item in items if item.nodeid in self.names]
        items[:] = [item for item in items if item.nodeid not in self.names]
        config.hook.pytest_deselected(items=out)
