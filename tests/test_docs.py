"""The documentation: its code runs, its links lead somewhere, and each page and each public name is in it.

Sphinx is not needed here; .ci/run builds the pages, and a warning of Sphinx is an error there.
"""

import doctest
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from conftest import alone
from fastnn import command_line

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
REFERENCE = sorted((DOCS / "reference").glob("*.rst"))
SCRIPTS = sorted([*(DOCS / "lecture").glob("*.py"), *(DOCS / "gallery").glob("*.py")])
MARKDOWN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MODULES = [f"fastnn{each}" for each in ("", ".kernels", ".plots", ".sklearn", ".exchange", ".tabular")]
sys.path.insert(0, str(DOCS / "extensions"))
import requirements  # noqa: E402

import examples  # noqa: E402


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def is_here(module):
    return importlib.util.find_spec(module) is not None


def text_of(path):
    return path.read_text(encoding="utf-8")


def blocks(path, language):
    """The code blocks of one language, in Markdown or reStructuredText."""
    if path.suffix == ".md":
        return re.findall(rf"^```{language}\n(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE)
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:(?:   .*)?\n)+)", text_of(path), re.MULTILINE)
    return [re.sub("^   ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


# --- code -----------------------------------------------------------------------------------------


@alone  # doctest puts a reader of sources of its own in place; the working directory changes
@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in text_of(page)], ids=name_of)
def test_examples(page, threads):
    if not examples.can_run(page):
        pytest.skip("the compiled backend is not in use")
    count, failures = examples.run(page)
    assert count
    assert not failures, "\n".join(failures)


@alone
@pytest.mark.parametrize("page", [page for page in (*MARKDOWN, *PAGES) if blocks(page, "python")], ids=name_of)
def test_python_blocks(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.slow
@alone
@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_scripts(script, plt, tmp_path):
    if missing := requirements.missing(script):
        pytest.skip(f"needs {', '.join(missing)}")
    environment = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1]), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)


@alone
def test_commands_on_tables_print_what_is_shown(tmp_path, monkeypatch, capsys):
    page = DOCS / "tables.rst"
    if fastnn.info()["backend"] != "compiled":
        pytest.skip("the page names the compiled backend")
    monkeypatch.chdir(tmp_path)
    code = "".join(example.source for example in doctest.DocTestParser().get_examples(text_of(page)))
    exec(code.partition("from fastnn")[0], {})  # makes the table
    count, commands = 0, []
    for session in "".join(blocks(page, "console")).split("$ fastnn ")[1:]:
        command, _, shown = session.partition("\n")
        commands.append(f"$ fastnn {command}")
        assert command_line.main(shlex.split(command)) == 0
        printed = capsys.readouterr()
        found, shown = (printed.err + printed.out).rstrip("\n").split("\n"), shown.rstrip("\n").split("\n")
        assert [without_figures(line) for line in found] == [without_figures(line) for line in shown]
        count += 1
    assert count == 3
    assert {line for block in blocks(ROOT / "README.md", "console") for line in block.splitlines()} <= set(commands)


def without_figures(line):
    """A line without those of its numbers that depend on the instruction set, or on the time."""
    return re.sub(r"[\d.]+", "#", line) if re.match("rmse|r2|trained", line) else line


SHELL = sorted({block for page in (ROOT / "README.md", *PAGES) for block in blocks(page, "sh")})


def test_commands_that_run_the_tests_are_those_of_the_readme():
    # .ci/run runs that one; the others are run here, by the next test.
    assert {block for block in SHELL if "pytest" in block} <= set(blocks(ROOT / "README.md", "sh"))


@pytest.mark.build
@pytest.mark.parametrize("block", [block for block in SHELL if "pytest" not in block])
def test_commands(block, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["bash", "-euc", block], cwd=tmp_path, env=environment, check=True)


def test_scripts_that_lack_something_are_not_run(tmp_path):
    for name, needs in {"a.py": "# Needs: numpy\n", "b.py": "# Needs: numpy, no_such_package\n", "c.py": ""}.items():
        (tmp_path / name).write_text(f'"""A\n=\n"""\n{needs}')
    assert requirements.missing(tmp_path / "b.py") == ["no_such_package"]
    runs = re.compile(requirements.pattern_of_those_that_run([tmp_path]))
    assert [p.name for p in sorted(tmp_path.glob("*.py")) if runs.search(str(p))] == ["a.py", "c.py"]


# --- links ----------------------------------------------------------------------------------------


def entries(page):
    """The pages in the toctrees of a page, as paths without suffix; a pattern gives all that are there."""
    found = []
    for body in re.findall(r"^\.\. toctree::\n((?:(?:   .*)?\n)+)", text_of(page) + "\n", re.MULTILINE):
        for entry in (line.strip() for line in body.splitlines()):
            if entry and not entry.startswith(":"):
                target = page.parent / entry
                is_pattern = any(sign in entry for sign in "*[")
                paths = sorted(page.parent.glob(f"{entry}.rst")) if is_pattern else [target.with_suffix(".rst")]
                if not (DOCS / requirements.MAY_BE_ABSENT.get(entry, "")).exists():
                    continue
                found += [path.relative_to(DOCS).with_suffix("").as_posix() for path in paths]
    return found


def test_every_page_is_in_a_toctree():
    linked, todo = set(), [DOCS / "index.rst"]
    while todo:
        page = todo.pop()
        for entry in entries(page):
            assert_page(entry, page)
            if entry not in linked and not entry.startswith("generated/"):
                todo.append(DOCS / f"{entry}.rst")
            linked.add(entry)
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in (*PAGES, *REFERENCE)}
    assert pages - linked == {"index"}
    assert "generated/lecture/index" in linked


def assert_page(target, page):
    """`target` is a page, or one that is generated of a folder of scripts or of one of these."""
    source = DOCS / target.removeprefix("generated/")
    is_generated = target.startswith("generated/") and (source.with_suffix(".py").exists() or source.name == "index")
    assert is_generated or (DOCS / f"{target}.rst").exists(), f"{name_of(page)}: no page {target}"


@pytest.mark.parametrize("page", [*PAGES, *REFERENCE, *SCRIPTS], ids=name_of)
def test_links(page):
    text = text_of(page)
    for target in re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)>?`", text):
        assert_page(target.lstrip("/"), page)
    for target in re.findall(r":(?:class|meth|func|attr|mod):`(?:[^`<]*<)?[~!]?([\w.]+)>?`", text):
        assert_name(target, page)


def assert_name(target, page):
    parts = target.split(".")
    assert parts[0] == "fastnn", f"{name_of(page)}: {target}"
    if len(parts) > 1 and f"fastnn.{parts[1]}" in MODULES and not is_here(f"fastnn.{parts[1]}"):
        return
    thing = fastnn
    for part in parts[1:]:
        thing = getattr(thing, part)


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_links_of_markdown(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(page)):
        assert "://" in target or (page.parent / target).exists(), target


# --- the reference --------------------------------------------------------------------------------


def documented():
    """All names that the pages of the reference document, in full."""
    found = set()
    for page in REFERENCE:
        module = "fastnn"
        for kind, name in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)$", text_of(page), re.MULTILINE):
            module = name if kind == "currentmodule" else module
            if kind not in ("currentmodule", "autosummary"):
                found.add(name if name.startswith("fastnn.") else f"{module}.{name}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    if not is_here(module):
        pytest.skip(f"no {module}")
    try:
        names = importlib.import_module(module).__all__
    except ImportError as error:
        pytest.skip(f"{module} needs a package that is missing: {error}")
    modules = {"fastnn.kernels", "fastnn.schedules", "fastnn.__version__"}
    assert {f"{module}.{name}" for name in names} - modules - documented() == set()


def test_modules_without_a_list_of_names_are_in_the_reference():
    for module, base in {"schedules": "OfTime", "callbacks": "_OfOneFit"}.items():
        names = vars(importlib.import_module(f"fastnn.{module}"))
        classes = {name for name, value in names.items() if isinstance(value, type) and issubclass(value, names[base])}
        assert {f"fastnn.{module}.{name}" for name in classes - {base}} <= documented()
