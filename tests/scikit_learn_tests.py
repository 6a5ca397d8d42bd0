"""Run scikit-learn's own tests of its MLP, of the installed release, with fastnn's two classes in their place.

    python tests/scikit_learn_tests.py [arguments of pytest]

Prints how many ran, passed and are excused. It fails if a test fails that is not excused, or an excused one passes.
"""

import importlib.metadata
import sys
import tempfile
from pathlib import Path

import pytest
import sklearn.neural_network

import fastnn.sklearn

_HAND_MADE = "writes fitted attributes, among them private ones, instead of a first fit"
_OPTIMIZER = "reads the private _optimizer"
EXCUSED = {
    "test_fit": _HAND_MADE,
    "test_gradient": "calls the private _loss_grad_lbfgs",
    "test_learning_rate_warmstart": _OPTIMIZER,
    "test_adaptive_learning_rate": _OPTIMIZER,
}
RELEASE = tuple(int(part) for part in importlib.metadata.version("scikit-learn").split(".")[:2])
# It passes or fails by chance: one of 60 predictions is 0.0023, and the others are up to 3.
ROUNDED = "wants 1e-4 of a prediction near 0 in float32, a rounding of 2e-7; scikit-learn loosened it later"
BY_CHANCE = {"test_mlp_regressor_dtypes_casting": ROUNDED} if RELEASE < (1, 9) else {}


class Plugin:
    """Collects results; excused tests are expected to fail."""

    def __init__(self):
        self.results = {"passed": [], "failed": [], "excused": [], "skipped": []}

    def pytest_collection_modifyitems(self, items):
        """Mark the excused tests."""
        for item in items:
            if item.originalname in EXCUSED:
                item.add_marker(pytest.mark.xfail(reason=EXCUSED[item.originalname], strict=True))
            elif item.originalname in BY_CHANCE:
                item.add_marker(pytest.mark.xfail(reason=BY_CHANCE[item.originalname], strict=False))

    def pytest_runtest_logreport(self, report):
        """Count a result."""
        if report.when == "call" or report.outcome != "passed":
            kind = "excused" if hasattr(report, "wasxfail") and report.outcome == "skipped" else report.outcome
            self.results[kind].append(report.nodeid)


def main(arguments):
    """Run them; return the exit status."""
    for name in fastnn.sklearn.__all__:
        setattr(sklearn.neural_network, name, getattr(fastnn.sklearn, name))
    plugin, package = Plugin(), Path(sklearn.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pytest.ini"  # not those of this project
        settings.write_text("[pytest]\n")
        options = ["-q", "-p", "no:cacheprovider", "-c", str(settings), "--confcutdir", str(package)]
        file = str(package / "neural_network" / "tests" / "test_mlp.py")
        status = pytest.main([*options, *arguments, file], plugins=[plugin])
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in plugin.results.items())
    print(f"scikit-learn {importlib.metadata.version('scikit-learn')}: {counts}")
    for name, reason in (EXCUSED | BY_CHANCE).items():
        print(f"  excused: {name}: {reason}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
