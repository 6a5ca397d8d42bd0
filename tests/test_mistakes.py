"""A first hour's mistakes: wrong names, habits from scikit-learn, Keras and PyTorch, and data that can mean two things.

Each is answered by one sentence that says what to write instead: an error, or a warning where it is legal.
"""

import contextlib
import decimal
import functools
import gc
import io
import logging
import pickle
import re
import signal
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from tqdm import tqdm

import fastnn
from case_helpers import bits, weights_unchanged
from conftest import DEFAULT, PROFILE
from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    DataWarning,
    EarlyStopping,
    NAdam,
    Network,
    RMSprop,
    hints,
    kernels,
    norms,
    optimizers,
    schedules,
    tables,
)
from fastnn.callbacks import Checkpoint, CSVLog

VARIANTS = DEFAULT  # what is tested here is around the kernels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 60)).astype("f4")
CODES = np.arange(60) % 3
BINARY = CODES % 2
VALUES = X.sum(axis=0)


@pytest.fixture
def three(either_backend):
    return Network([4, 8, 3], seed=0, backend=either_backend)


@pytest.fixture
def one(either_backend):
    return Network([4, 8, 1], seed=0, backend=either_backend)


@pytest.fixture
def line(either_backend):
    return Network([4, 8, 1], loss="mse", seed=0, backend=either_backend)


def refused(call, error, *words):
    """`call` raises exactly this kind of error, whose message is one line and has these words."""
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert caught.type is error, text
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
    assert "\n" not in text
    assert len(text) < 400


def said(call, *words):
    """`call` gives one DataWarning with these words, as coming from here."""
    with pytest.warns(DataWarning) as caught:
        result = call()
    ours = [w for w in caught if w.category is DataWarning]
    assert len(ours) == 1, [str(w.message) for w in ours]
    for word in words:
        assert word in str(ours[0].message), str(ours[0].message)
    assert ours[0].filename == __file__
    return result


@contextlib.contextmanager
def nothing_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- names that cannot be assigned --------------------------------------------------------------------------------

SETTINGS = {
    "lr": ["fit(", "optimizer=fastnn.SGD(lr="],
    "learning_rate": ["fit(", "optimizer=fastnn.SGD(lr="],
    "learning_rate_init": ["optimizer=fastnn.SGD(lr="],
    "eta": ["lr="],
    "optimizer": ["fit(", "optimizer=fastnn.Adam()"],
    "solver": ["optimizer="],
    "momentum": ["SGD(momentum="],
    "weight_decay": ["weight_decay="],
    "alpha": ["weight_decay="],
    "Lr": ["lr="],
    "learnrate": ["lr="],
    "epoch": ["epochs="],
    "threads": ["Network(sizes, threads="],
    "n_jobs": ["threads="],
    "batch_size": ["fit(", "batch_size="],
    "epochs": ["epochs="],
    "max_iter": ["epochs="],
    "shuffle": ["shuffle="],
    "callbacks": ["callbacks="],
    "verbose": ["progress="],
    "W": ["set_parameters"],
    "b": ["set_parameters"],
    "weights": ["set_parameters"],
    "bias": ["set_parameters"],
    "coefs_": ["set_parameters"],
    "intercepts_": ["set_parameters"],
    "parameters": ["set_parameters"],
    "params": ["set_parameters"],
    "seed": ["seed="],
    "random_state": ["seed="],
    "dtype": ["dtype="],
    "sizes": ["Network(["],
    "hidden_layer_sizes": ["Network(["],
    "activations": ["activations="],
    "activation": ["activations="],
    "loss": ["Network(", "loss="],
    "criterion": ["loss="],
    "backend": ["backend="],
    "training": ["no modes"],
    "requires_grad": ["no modes"],
    "n_params": ["a property"],
    "epochs_done": ["a property"],
    "flat_parameters": ["a property", "net.set_flat_parameters(v)"],
    "running_statistics": ["a property", "net.set_running_statistics("],
    "standardisation": ["a property", "net.adapt(X, y)"],
    "standardization": ["net.adapt(X, y)"],
    "predict": ["a method"],
    "fit": ["a method"],
    "save": ["a method"],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_and_weights_cannot_be_assigned(three, name):
    with weights_unchanged(three):
        refused(lambda: setattr(three, name, 0.5), AttributeError, name, *SETTINGS[name])
    three.fit(X, CODES, optimizer=SGD(lr=0.1), progress=False)
    three.loss(X, CODES)


def test_other_attributes_are_the_user_s(three):
    for name in (
        "scaler",
        "classes_",
        "feature_names_in_",
        "name",
        "metrics",
        "history",
        "_note",
        "X",
        "predict_proba",
        "units",
    ):
        setattr(three, name, "mine")
        assert getattr(three, name) == "mine"
        delattr(three, name)
        assert not hasattr(three, name)


def test_a_subclass_may_have_what_it_defines(backend):
    class Own(Network):
        lr = 0.1
        weights = None

        def predict(self, X, out=None):
            return super().predict(X, out) * 2

        @property
        def seed(self):
            return self._own

        @seed.setter
        def seed(self, value):
            self._own = value

    net = Own([4, 3], backend=backend)
    net.lr, net.weights, net.seed = 0.5, [1], 7
    assert (net.lr, net.weights, net.seed) == (0.5, [1], 7)
    np.testing.assert_array_equal(net.predict(X), Network.predict(net, X) * 2)
    refused(lambda: setattr(net, "optimizer", 3), AttributeError, "fit(")


@pytest.mark.parametrize("optimizer", [optimizer() for optimizer in optimizers.OPTIMIZERS], ids=repr)
def test_an_optimizer_s_settings_have_one_name(optimizer):
    for name in ("learning_rate", "eta", "Lr"):
        refused(lambda n=name: setattr(optimizer, n, 0.1), AttributeError, name, "did you mean 'lr'")
    for name in ("learning_rate", "eta"):
        refused(lambda n=name: getattr(optimizer, n), AttributeError, name, "write lr")
    refused(lambda: setattr(optimizer, "foo", 0.1), AttributeError, "foo", "it has lr")
    refused(lambda: setattr(optimizer, "wd", 0.1), AttributeError, "did you mean 'weight_decay'")
    for name, told in {"step": "net.train_step(", "zero_grad": "leave it out", "state_dict": "net.save("}.items():
        refused(lambda n=name: getattr(optimizer, n), AttributeError, f"has no {name!r}", told)
    optimizer.lr = 0.5
    assert pickle.loads(pickle.dumps(optimizer)).lr == 0.5


# --- names that are not there -------------------------------------------------------------------------------------

READ = {
    "predict_proba": ["net.predict(X)"],
    "predict_log_proba": ["net.predict(X)"],
    "decision_function": ["net.predict(X)"],
    "score": ["net.evaluate(X, y)"],
    "partial_fit": ["net.train_step(X, y"],
    "train_on_batch": ["net.train_step(X, y"],
    "test_on_batch": ["net.evaluate(X, y)"],
    "weights": ["net.parameters"],
    "W": ["net.parameters"],
    "b": ["net.parameters"],
    "coefs_": ["net.parameters"],
    "state_dict": ["net.parameters"],
    "get_weights": ["net.parameters"],
    "trainable_variables": ["net.parameters"],
    "load_state_dict": ["net.set_parameters("],
    "set_weights": ["net.set_parameters("],
    "compile": ["optimizer="],
    "load": ["fastnn.load(path)"],
    "load_weights": ["fastnn.load(path)"],
    "save_weights": ["net.save(path)"],
    "train": ["net.fit(X, y)"],
    "eval": ["no modes"],
    "zero_grad": ["net.gradients(X, y)"],
    "lr": ["lr="],
    "count_params": ["net.n_params"],
    "loss_curve_": ["history.loss"],
    "history": ["history.loss"],
    "hidden_layer_sizes": ["net.sizes"],
    "n_features_in_": ["net.sizes"],
    "random_state": ["net.seed"],
    "activation": ["net.activations"],
}


@pytest.mark.parametrize("name", READ)
def test_names_that_are_not_there(three, name):
    refused(lambda: getattr(three, name), AttributeError, name, *READ[name])
    assert not hasattr(three, name)


def test_what_is_called_and_is_no_function(three):
    refused(lambda: three(X), TypeError, "net.predict(X)")
    refused(lambda: three.parameters(), TypeError, "without ()")
    refused(lambda: Network.load("m.npz"), AttributeError, "fastnn.load(path)")
    assert isinstance(three.parameters, list)
    assert len(list(three.parameters)) == 2
    history = three.fit(X, CODES, progress=False)
    refused(lambda: history.history, AttributeError, "history.loss")
    refused(lambda: history.losses, AttributeError, "did you mean 'loss'")
    pickle.loads(pickle.dumps(history))


def test_names_of_the_package():
    assert fastnn.datasets.load_digits()[0].shape == (64, 1797)
    assert "datasets" in dir(fastnn)
    for name, told in {
        "Sequential": "'Network'",
        "nn": "'Network'",
        "Dense": "'Network'",
        "adam": "'Adam'",
        "Nadam": "'NAdam'",
        "RMSProp": "'RMSprop'",
        "Sgd": "'SGD'",
        "optimizers_": "'SGD'",
        "set_num_threads": "'set_threads'",
        "load_model": "'load'",
        "network_": "'Network'",
    }.items():
        refused(lambda n=name: getattr(fastnn, n), AttributeError, name, f"did you mean {told}")
    for name, module in {"MLPClassifier": "sklearn", "to_onnx": "exchange", "Checkpoint": "callbacks"}.items():
        refused(lambda n=name: getattr(fastnn, n), AttributeError, f"has no {name!r}: write fastnn.{module}.{name}")
    refused(lambda: fastnn.qqq, AttributeError, "has no 'qqq'")
    assert not hasattr(fastnn, "__path_of_nothing__")


CHOICES = {
    "activation": {
        "linear": "identity",
        "logistic": "sigmoid",
        "ReLU": "relu",
        "Sigmoid": "sigmoid",
        "sigmiod": "sigmoid",
        "log_softmax": "softmax",
        "TANH": "tanh",
        "swish": "silu",
        "SiLU": "silu",
        "LeakyReLU": "leaky_relu",
        "lrelu": "leaky_relu",
        "soft_plus": "softplus",
    },
    "loss": {
        "bce": "binary_cross_entropy",
        "BCEWithLogitsLoss": "binary_cross_entropy",
        "binary_crossentropy": "binary_cross_entropy",
        "mean_squared_error": "mse",
        "MSELoss": "mse",
        "squared_error": "mse",
        "log_loss": "cross_entropy",
        "categorical_crossentropy": "cross_entropy",
        "sparse_categorical_crossentropy": "cross_entropy",
        "CrossEntropyLoss": "cross_entropy",
        "crossentropy": "cross_entropy",
    },
    "init": {
        "glorot_uniform": "xavier_uniform",
        "glorot_normal": "xavier",
        "kaiming_uniform": "he_uniform",
        "he_normal": "he",
        "random_normal": "normal",
        "zero": "zeros",
        "ortogonal": "orthogonal",
    },
}
CHOICES = [(kind, wrong, right) for kind, pairs in CHOICES.items() for wrong, right in pairs.items()]


@pytest.mark.parametrize(("kind", "wrong", "right"), CHOICES)
def test_choices_by_other_names(kind, wrong, right):
    how = {"activations": [wrong, "sigmoid"]} if kind == "activation" else {kind: wrong}
    refused(lambda: Network([2, 3, 1], **how), ValueError, repr(wrong), "did you mean", repr(right), "choose one of")
    if kind == "activation":
        refused(lambda: kernels.activation_forward(X, wrong), ValueError, "did you mean", repr(right))
    if kind == "loss":
        refused(lambda: kernels.loss_forward(X, CODES, wrong), ValueError, "did you mean", repr(right))


def test_gelu_by_tanh_has_many_names():
    right = "('gelu', {'approximate': 1})"
    for wrong in ("gelu_tanh", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "GELUTanh"):
        refused(lambda w=wrong: Network([2, 3, 1], [w, "sigmoid"]), ValueError, f"did you mean {right}?")
        refused(lambda w=wrong: kernels.activation_forward(X, w), ValueError, f"did you mean {right}?")
    for wrong, right_value in (("tanh", 1), (True, 1), ("none", 0), (False, 0)):
        spec = ("gelu", {"approximate": wrong})
        refused(lambda s=spec: Network([2, 1], [s]), TypeError, f"write ('gelu', {{'approximate': {right_value}}})")
    for wrong in ("yes", [1], None):
        with pytest.raises(TypeError, match=r"approximate must be a real number, got \S+$"):
            Network([2, 1], [("gelu", {"approximate": wrong})])
    for other in ("hard_sigmoid", "hardswish", "hardtanh", "quick_gelu"):  # none of ours is the same
        with pytest.raises(ValueError, match=r"no '\w+' here; choose one of"):
            Network([2, 1], [other])


def test_choices_that_are_no_names():
    class ReLU:
        pass

    for wrong, right in ((None, "identity"), (np.tanh, "tanh"), (ReLU(), "relu"), (ReLU, "relu")):
        refused(lambda w=wrong: Network([2, 3, 1], [w, "sigmoid"]), TypeError, f"did you mean '{right}'")
    refused(lambda: Network([2, 3, 1], "relu"), TypeError, "one per layer (2)", "write ['relu', ")
    refused(lambda: Network([2, 3, 1], "relu", "mse"), TypeError, "write ['relu', 'identity']")
    refused(lambda: Network([2, 3, 1], ["relu"]), ValueError, "the output's included")
    refused(lambda: Network([2, 3], init=("normal", {"std": 1})), ValueError, "'std'", "sd")
    refused(lambda: Network([2, 1], [("leaky_relu", 0.2)]), TypeError, "{'slope': 0.01}", "got 0.2")
    refused(lambda: Network([2, 1], [("leaky relu", 0.2)]), ValueError, "did you mean 'leaky_relu'")
    for tiny in (1e-39, 5e-324):
        refused(lambda t=tiny: Network([2, 1], [("leaky_relu", {"slope": t})]), ValueError, "slope", "1.17549e-38")
    refused(lambda: Network(4, 8, 3), TypeError, "sizes", "Network([")
    refused(lambda: Network((4, (8, 8), 3)), TypeError, "sizes[1]")


def test_each_synonym_leads_to_a_name_of_ours():
    names = {
        *tables.ACTIVATIONS,
        *tables.LOSSES,
        *tables.INITIALISERS,
        *tables.METRICS,
        *fastnn.__all__,
        "datasets",
        "plots",
        *fastnn.plots.__all__,
        *hints._PLACES,
        *(name for kind in schedules.SCHEDULES.values() for name in kind._fields),
        *(kind.__name__ for kind in schedules.SCHEDULES.values()),
        *fastnn.EarlyStopping._fields,
        *filter(None, norms.NORMS),
        *("path", "best", "every"),  # of callbacks
    }
    names |= {name for name in dir(Network) if name[0] != "_"} | set(hints._READINGS)
    for wrong, right in hints._SYNONYMS.items():
        assert hints._plain(wrong) == wrong, f"{wrong!r} is never found"
        assert set(right.split(" ")) <= names, f"{wrong!r} leads to {right!r}"
    for name in names:
        assert name in hints.ours(name) or hints.ours(name)[0] in names
    for wrong, spec in hints._SPECS.items():
        assert hints._plain(wrong) == wrong
        assert tables.spec(spec, tables.ACTIVATIONS, "activation")


# --- arguments ----------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "fit lr": (lambda n: n.fit(X, CODES, lr=0.1), ["'lr'", "optimizer=fastnn.SGD(lr="]),
    "fit learning_rate": (lambda n: n.fit(X, CODES, learning_rate=0.1), ["optimizer=fastnn.SGD(lr="]),
    "fit verbose": (lambda n: n.fit(X, CODES, verbose=1), ["did you mean 'progress'"]),
    "fit max_iter": (lambda n: n.fit(X, CODES, max_iter=9), ["did you mean 'epochs'"]),
    "fit n_epochs": (lambda n: n.fit(X, CODES, n_epochs=9), ["did you mean 'epochs'"]),
    "fit batchsize": (lambda n: n.fit(X, CODES, batchsize=9), ["did you mean 'batch_size'"]),
    "fit callback": (lambda n: n.fit(X, CODES, callback=print), ["did you mean 'callbacks'"]),
    "fit weights": (lambda n: n.fit(X, CODES, sample_weights=X[0]), ["did you mean 'sample_weight'"]),
    "fit seed": (lambda n: n.fit(X, CODES, random_state=1), ["Network(sizes, seed="]),
    "fit loss": (lambda n: n.fit(X, CODES, loss="mse"), ["Network(sizes, loss="]),
    "fit else": (lambda n: n.fit(X, CODES, quatsch=1), ["no argument 'quatsch'", "epochs, batch_size"]),
    "evaluate batch_size": (lambda n: n.evaluate(X, CODES, batch_size=9), ["evaluate()", "batch_size"]),
    "evaluate verbose": (lambda n: n.evaluate(X, CODES, verbose=0), ["evaluate()", "verbose"]),
    "save": (lambda n: n.save("m", overwrite=True), ["save()", "overwrite", "path, optimizer"]),
    "load": (lambda n: fastnn.load("m", device="cpu"), ["load()", "path, backend, threads"]),
    "loss": (lambda n: n.loss(X, CODES, sample_weights=X[0]), ["did you mean 'sample_weight'"]),
    "SGD": (lambda n: SGD(learning_rate=0.1), ["SGD()", "did you mean 'lr'"]),
    "Adam": (lambda n: Adam(learning_rate=0.1), ["Adam()", "did you mean 'lr'"]),
    "AdamW": (lambda n: AdamW(l2=0.1), ["AdamW()", "did you mean 'weight_decay'"]),
    "Adam beta": (lambda n: Adam(beta_1=0.1), ["did you mean 'betas'"]),
    "Adam epsilon": (lambda n: Adam(epsilon=0.1), ["did you mean 'eps'"]),
    "RMSprop rho": (lambda n: RMSprop(rho=0.9), ["RMSprop()", "did you mean 'alpha'"]),
    "RMSprop centered": (lambda n: RMSprop(centered=True), ["RMSprop() has no argument 'centered'", "always False"]),
    "Adam rho": (lambda n: Adam(rho=0.9), ["optimizer=fastnn.RMSprop(alpha="]),
    "Adam amsgrad": (lambda n: Adam(amsgrad=True), ["no argument 'amsgrad'", "always False"]),
    "Adam fused": (lambda n: Adam(fused=True), ["does not change the step"]),
    "SGD dampening": (lambda n: SGD(0.1, dampening=0), ["always 0"]),
    "SGD maximize": (lambda n: SGD(0.1, maximize=True), ["minimises its loss"]),
    "SGD decay": (lambda n: SGD(decay=0.1), ["did you mean 'weight_decay'?"]),
    "Adagrad decay": (lambda n: Adagrad(decay=0.1), ["did you mean 'weight_decay' or 'lr_decay'?"]),
    "Adagrad sum": (lambda n: Adagrad(initial_accumulator_value=0.1), ["the sum of squares begins with 0"]),
    "NAdam decay": (lambda n: NAdam(schedule_decay=0.1), ["did you mean 'momentum_decay'"]),
    "NAdam decoupled": (lambda n: NAdam(decoupled_weight_decay=True), ["fastnn.AdamW has decoupled"]),
    "Adam lr_decay": (lambda n: Adam(lr_decay=0.1), ["optimizer=fastnn.Adagrad(lr_decay="]),
    "fit lr_decay": (lambda n: n.fit(X, CODES, learning_rate_decay=0.1), ["optimizer=fastnn.Adagrad(lr_decay="]),
    "fit amsgrad": (lambda n: n.fit(X, CODES, amsgrad=True), ["fit() has no argument 'amsgrad'; it has"]),
    "Adam parameters, lr": (lambda n: Adam(n.parameters, lr=0.1), ["Adam()", "lr twice"]),
    "Adam parameters": (lambda n: Adam(n.parameters), ["lr must be", "no parameters", "fastnn.Adam(lr="]),
    "SGD parameters, 0.1": (lambda n: SGD(n.parameters, 0.1), ["no parameters", "fastnn.SGD(lr="]),
    "Network hidden": (lambda n: Network(hidden_layer_sizes=(9,)), ["did you mean 'sizes'"]),
    "Network activation": (lambda n: Network([4, 3], activation="relu"), ["did you mean 'activations'"]),
    "Network random_state": (lambda n: Network([4, 3], random_state=1), ["did you mean 'seed'"]),
    "Network n_jobs": (lambda n: Network([4, 3], n_jobs=1), ["did you mean 'threads'"]),
    "Network lr": (lambda n: Network([4, 3], lr=1), ["optimizer=fastnn.SGD(lr="]),
    "Network solver": (lambda n: Network([4, 3], solver="adam"), ["optimizer=fastnn.Adam()"]),
    "optimizer adam": (lambda n: n.fit(X, CODES, optimizer="adam"), ["write fastnn.Adam()"]),
    "optimizer SGD": (lambda n: n.train_step(X, CODES, "sgd"), ["write fastnn.SGD()"]),
    "optimizer RMSProp": (lambda n: n.fit(X, CODES, optimizer="RMSProp"), ["write fastnn.RMSprop()"]),
    "optimizer nadam": (lambda n: n.train_step(X, CODES, "nadam"), ["write fastnn.NAdam()"]),
    "optimizer class": (lambda n: n.fit(X, CODES, optimizer=Adam), ["write fastnn.Adam()"]),
    "optimizer number": (lambda n: n.train_step(X, CODES, 0.1), ["write fastnn.SGD(lr=0.1)"]),
    "optimizer lion": (lambda n: n.fit(X, CODES, optimizer="lion"), ["SGD, Adam, AdamW, NAdam, RMSprop, Adagrad"]),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_arguments_that_are_not_there(three, what):
    call, words = ARGUMENTS[what]
    with weights_unchanged(three):
        refused(lambda: call(three), TypeError, *words)


def test_python_s_own_words_where_they_are_enough(three):
    with pytest.raises(TypeError, match=r"^Network.loss\(\) missing 1 required positional argument: 'y'"):
        three.loss(X)
    for name in dir(Network):
        method = getattr(Network, name, None)
        if name[0] != "_" and isinstance(method, types.FunctionType):
            assert pickle.loads(pickle.dumps(method)) is method
            with pytest.raises(TypeError, match=rf"^Network.{name}\(\) (takes|missing)"):
                method(*[None] * 50)
    with pytest.raises(TypeError, match="unexpected keyword argument 'verbose'"):
        three.predict(X, verbose=0)


def test_the_signatures_are_still_to_be_seen():
    import inspect

    for function in (Network, Network.fit, Network.save, fastnn.load, SGD, AdamW):
        assert "kwargs" not in str(inspect.signature(function))
    assert list(inspect.signature(Network.fit).parameters)[:3] == ["self", "X", "y"]


def test_an_error_from_inside_stays_what_it_is(three):
    def fails(epoch, history):
        raise TypeError("of my own")

    with pytest.raises(TypeError, match="of my own"):
        three.fit(X, CODES, callbacks=fails, progress=False)


# --- callbacks ----------------------------------------------------------------------------------------------------


def test_callbacks_that_do_not_fit(three):
    class Keras:
        def on_epoch_end(self, epoch, logs=None):
            pass

    for callback in (lambda history: None, lambda: None, lambda e, h, more: None, Keras(), "log", 3):
        with weights_unchanged(three):
            refused(lambda c=callback: three.fit(X, CODES, callbacks=[c], progress=False), TypeError, "callbacks[0]")
    seen = []
    for callback in (
        lambda e, h, *rest: seen.append(e),
        functools.partial(lambda a, e, h: seen.append(e), 1),
        lambda epoch, history, extra=1: seen.append(epoch),
        types.MethodType(lambda self, e, h: seen.append(e), three),
    ):
        three.fit(X, CODES, 2, callbacks=callback, progress=False)
    assert seen == [0, 1] * 4


@pytest.mark.parametrize("value", [0, 1, 12, 0.3, 0.0, "", "stop", [], np.float32(0.1), np.array(True), object()])
def test_only_True_ends_training(three, value):
    with pytest.raises(
        TypeError, match=r"callbacks\[1\] returned .*only|callbacks\[1\] returned .*True ends"
    ) as caught:
        three.fit(X, CODES, 3, callbacks=[lambda e, h: None, lambda e, h: value], progress=False)
    assert len(caught.value.history.loss) == 1
    assert three.epochs_done == 1
    for value_, epochs in ((None, 3), (False, 3), (np.False_, 3), (True, 1), (np.True_, 1)):
        history = three.fit(X, CODES, 3, callbacks=lambda e, h, v=value_: v, progress=False)
        assert (len(history.loss), history.stopped) == (epochs, None if epochs == 3 else "callback")


def test_what_ends_fit_has_the_history(one, line):
    with pytest.raises(FloatingPointError, match=r"learning rate \(lr\)") as caught:
        line.fit(X, VALUES, 50, optimizer=SGD(lr=1e20), progress=False)
    assert isinstance(caught.value.history, fastnn.History)

    def interrupt(epoch, history):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        one.fit(X, BINARY, 50, callbacks=interrupt, progress=False)
    assert len(caught.value.history.loss) == 4
    assert caught.value.history.seconds > 0


def test_a_number_that_a_history_does_not_have(one):
    history = one.fit(X, BINARY, 2, metrics=["f1"], progress=False)
    assert [history.last(name) for name in ("loss", "lr", "f1")] == [history.loss[1], 0.01, history.metrics["f1"][1]]
    for name in ("val_loss", "accuracy", "seconds", 0):
        with pytest.raises(ValueError, match=f"^name: no {name!r} was measured; .*what was: loss, lr, f1$"):
            history.last(name)
    with pytest.raises(ValueError, match="what was: nothing"):
        fastnn.History().last("loss")


def test_a_history_is_not_indexed(one):
    history = one.fit(X, BINARY, 2, metrics=["f1"], progress=False)
    with pytest.raises(TypeError, match=r"give history.metrics\['f1'\],"):
        history["f1"]
    for name in ("loss", "no", 0):
        with pytest.raises(TypeError, match=r"history.lr or history.metrics\[name\],"):
            history[name]


def test_what_set_parameters_and_forward_got_is_told(one):
    layer = one.parameters[0]
    with weights_unchanged(one):
        for wrong in (layer[:1], (*layer, 1)):
            with pytest.raises(ValueError, match=rf"^parameters\[0\] has {len(wrong)} arrays, wanted \(W, b\)$"):
                one.set_parameters([wrong, *one.parameters[1:]])
        with pytest.raises(TypeError, match=r"^cache must be True or False"):
            one.forward(X, np.empty((1, X.shape[1]), np.float32))


# --- what is only shown -------------------------------------------------------------------------------------------


class Closed(io.StringIO):
    def isatty(self):
        raise ValueError("I/O operation on closed file")

    def write(self, text):
        raise ValueError("I/O operation on closed file")


class Logger:
    """As windows and loggers put in the place of stderr."""

    def write(self, text):
        logging.getLogger("fastnn").debug(text)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(Terminal):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("without_tqdm", [False, True])
@pytest.mark.parametrize("progress", [None, True, False])
@pytest.mark.parametrize("stream", [None, Closed(), Logger(), Terminal(), Broken(), object()])
def test_what_is_only_shown_never_stops_work(three, monkeypatch, stream, progress, without_tqdm):
    if without_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", stream)
    history = three.fit(X, CODES, 3, progress=progress)
    monkeypatch.undo()
    assert len(history.loss) == 3


# --- shapes, labels, containers -----------------------------------------------------------------------------------


class Tensor:
    """As torch's, which refuses to be read while it has gradients, or as a dtype that NumPy has not."""

    def __init__(self, requires_grad=False, dtype="torch.float32", device="cpu"):
        self.requires_grad, self.dtype, self.device = requires_grad, dtype, types.SimpleNamespace(type=device)

    def float(self):
        return self

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no")


class Matrix:
    """As SciPy's sparse ones, which NumPy takes for a single object."""

    shape, dtype = (4, 60), np.dtype("f4")

    def toarray(self):
        return X


class DataLoader:
    def __iter__(self):
        return iter([(X, CODES)])


JOINED = "np.concatenate([batch[0] for batch in X]"
DATA = {
    "one sample": (lambda n: n.predict(X[:, 0]), ValueError, ["X[:, None]"]),
    "rows": (lambda n: n.predict(X.T), ValueError, ["did you mean X.T"]),
    "images": (lambda n: n.predict(np.ones((9, 2, 2))), ValueError, ["X.reshape(len(X), -1).T"]),
    "other features": (lambda n: n.predict(np.ones((5, 60))), ValueError, ["Network([5, ...])"]),
    "a gradient": (lambda n: n.predict(Tensor(True)), TypeError, ["X.detach()"]),
    "bfloat16": (lambda n: n.predict(Tensor(dtype="torch.bfloat16")), TypeError, ["X.float()"]),
    "another device": (lambda n: n.predict(Tensor(device="cuda")), TypeError, ["X.cpu()"]),
    "sparse": (lambda n: n.predict(Matrix()), TypeError, ["X.toarray()"]),
    "generator": (lambda n: n.fit((x for x in X), CODES), TypeError, ["np.stack(list(X)"]),
    "zip": (lambda n: n.fit(zip(X, CODES, strict=False), CODES), TypeError, ["np.stack(list(X)"]),
    "loader": (lambda n: n.fit(DataLoader(), CODES), TypeError, ["without y, net.fit(X)"]),
    "adapt to a loader": (lambda n: n.adapt(DataLoader()), TypeError, [f"for all else write {JOINED}).T"]),
    "adapt to batches": (
        lambda n: n.adapt(iter([(X, CODES)])),
        TypeError,
        [f"net.fit(X); for all else write {JOINED}, axis"],
    ),
    "adapt to a list": (
        lambda n: n.adapt([(X, CODES)]),
        ValueError,
        ["fit takes them without y, net.fit(X)", f"{JOINED}, axis=-1)"],
    ),
    "adapt to a bar": (lambda n: n.adapt(tqdm([(X, CODES)], disable=True)), TypeError, [f"write {JOINED}, axis=-1)"]),
    "validation targets in batches": (
        lambda n: n.fit(X, CODES, validation_data=(X, [(X, CODES)])),
        ValueError,
        ["np.concatenate([batch[1] for batch in validation_data[1]], axis=-1)"],
    ),
    "dict": (lambda n: n.predict({"a": [1, 2]}), TypeError, ["X.values()"]),
    "set": (lambda n: n.predict({1, 2}), TypeError, ["a list"]),
    "file name": (lambda n: n.predict("data.csv"), TypeError, ["np.loadtxt('data.csv'"]),
    "complex": (lambda n: n.predict(X + 1j), TypeError, ["X.real"]),
    "dates": (lambda n: n.predict(np.zeros((4, 3), "M8[D]")), TypeError, ["'M8[s]'"]),
    "words": (lambda n: n.predict(np.full((4, 3), "a")), TypeError, ["encode them"]),
    "columns of words": (lambda n: n.predict(pd.DataFrame({"a": ["x", "y"]})), TypeError, ["encode them"]),
    "(m, 1) codes": (lambda n: n.fit(X, CODES[:, None]), ValueError, ["y.ravel()"]),
    "(1, m) codes": (lambda n: n.fit(X, CODES[None]), ValueError, ["y.ravel()"]),
    "one-hot rows": (lambda n: n.fit(X, np.eye(3)[CODES]), ValueError, ["did you mean y.T"]),
    "float codes": (lambda n: n.fit(X, CODES * 1.0), ValueError, ["y.astype(int)"]),
    "codes from 1": (lambda n: n.fit(X, CODES + 1), ValueError, ["y - 1"]),
    "codes with gaps": (lambda n: n.fit(X, CODES * 10), ValueError, ["np.unique(y, return_inverse=True)"]),
    "codes of 5 classes": (lambda n: n.fit(X, np.arange(60) % 5), ValueError, ["5 outputs", "Network([..., 5])"]),
    "1.5 among codes": (lambda n: n.fit(X, np.where(np.arange(60) == 7, 1.5, CODES)), ValueError, ["1.5", "sample 7"]),
    "strings": (lambda n: n.fit(X, np.array(["a", "b"] * 30)), TypeError, ["np.unique(y, return_inverse=True)"]),
    "a column of strings": (
        lambda n: n.fit(X, pd.Series(["a", "b"] * 30)),
        TypeError,
        ["np.unique(y, return_inverse=True)"],
    ),
    "two targets": (lambda n: n.fit(X, np.ones((60, 2))), ValueError, ["Network([..., 2])"]),
    "other samples": (lambda n: n.fit(X, CODES[:50]), ValueError, ["X has 60 samples", "y has 50"]),
    "NaN in X": (
        lambda n: n.fit(np.where(np.arange(240).reshape(4, 60) == 122, np.nan, X), CODES),
        ValueError,
        ["sample 2", "feature 2"],
    ),
}


@pytest.mark.parametrize("what", DATA)
def test_data_for_three_classes(three, what):
    call, error, words = DATA[what]
    with weights_unchanged(three):
        refused(lambda: call(three), error, *words)


ONE = {
    "codes of 3 classes": (CODES, ["3 outputs", "Network([..., 3])"]),
    "-1/1": (2 * BINARY - 1, ["(y + 1) // 2"]),
    "-1./1.": (2.0 * BINARY - 1, ["(y + 1) // 2"]),
    "1/2": (BINARY + 1, ["y - 1"]),
    "0/255": (BINARY * 255, ["y > 0"]),
    "prices": (VALUES * 100, ['loss="mse"']),
    "one-hot": (np.eye(3)[CODES].T, ["3 outputs", "Network([..., 3])"]),
    "(m, 1)": (BINARY[:, None], ["did you mean y.T"]),
    "words": (np.array(["no", "yes"])[BINARY], ["np.unique(y, return_inverse=True)"]),
    "NaN": (np.where(np.arange(60) == 5, np.nan, BINARY), ["1 missing value", "first at column 5"]),
}


@pytest.mark.parametrize("what", ONE)
@pytest.mark.parametrize("how", ["fit", "train_step", "loss", "evaluate", "gradients"])
def test_targets_for_one_output(one, what, how):
    y, words = ONE[what]
    with weights_unchanged(one), pytest.raises((ValueError, TypeError)) as caught:
        getattr(one, how)(X, y)
    assert all(word in str(caught.value) for word in words), caught.value


def advised(text):
    """The pieces of Python that a message advises: what follows "write", up to the next word outside of brackets."""
    words = re.compile(r",? (for|once|or|and|where|to|if|in|a|then|as)\b|,? \(|[;:?]")
    for part in re.split(r"\bwrite ", text)[1:]:
        depth = end = 0
        while end < len(part) and (depth or not words.match(part, end)):
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(part[end], 0)
            end += 1
        yield part[:end].rstrip(",.")


KINDS_OF_Y = {"array": np.asarray, "list": list, "Series": pd.Series, "objects": lambda y: np.array(list(y), object)}


@pytest.mark.parametrize("kind", KINDS_OF_Y)
def test_advice_is_python_and_helps_for_each_kind_of_y(three, one, kind):
    make, words = KINDS_OF_Y[kind], np.array(["no", "yes", "perhaps"])
    for net, wrong in (
        (three, [CODES + 1, CODES * 10, CODES * 1.0, CODES[:, None], np.arange(60) % 5, words[CODES]]),
        (one, [2 * BINARY - 1, BINARY + 1, BINARY * 255, words[BINARY], CODES, VALUES * 9, BINARY[:, None]]),
    ):
        for y in wrong:
            if y.ndim == 2 and kind in ("Series", "objects"):
                continue
            y = make(y)
            with weights_unchanged(net), pytest.raises((ValueError, TypeError)) as caught:
                net.loss(X, y)
            for code in advised(str(caught.value)):
                is_line = " = " in code
                run = compile(code, str(caught.value), "exec" if is_line else "eval")
                known = {"np": np, "X": X, "y": y, "sizes": [4, 1], "Network": lambda *a, **k: None}
                found = eval(run, known)
                if "Network" not in code:
                    net.loss(X, known["y"] if is_line else found)
            if net is three:
                with pytest.raises((ValueError, TypeError)) as caught:
                    net.fit(X, CODES, validation_data=(X, y))
                for code in advised(str(caught.value)):
                    compile(code, str(caught.value), "exec")


def test_all_other_advice_is_python(three, one):
    calls = [call for table in (DATA, ARGUMENTS) for call, *_ in table.values()] + [call for call, *_ in ADVICE]
    calls += [lambda n, y=y: one.loss(X, y) for y, _ in ONE.values()]
    calls += [lambda n, name=name: getattr(n, name) for name in READ]
    calls += [lambda n, name=name: setattr(n, name, 0.5) for name in SETTINGS]
    pieces = 0
    for call in calls:
        with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
            call(three)
        for code in advised(str(caught.value)):
            compile(code, str(caught.value), "exec")
            pieces += 1
    assert pieces > 100


def test_two_classes_as_minus_1_and_1(backend):
    two = Network([4, 2], backend=backend)
    refused(lambda: two.fit(X, 2 * BINARY - 1), ValueError, "(y + 1) // 2")


def test_one_feature(backend):
    net = Network([1, 4, 1], loss="mse", backend=backend)
    refused(lambda: net.fit(X[0], VALUES), ValueError, "X[None, :]")


def test_decimals_are_numbers(line):
    as_decimals = np.array([[decimal.Decimal(repr(float(x))) for x in row] for row in X], object)
    assert line.predict(as_decimals).tobytes() == line.predict(X).tobytes()
    prices = [decimal.Decimal(repr(float(v))) for v in VALUES]
    assert line.loss(X, prices) == line.loss(X, VALUES)


# --- data that can mean two things --------------------------------------------------------------------------------


@pytest.mark.parametrize("activations", [["relu", "sigmoid"]])
def test_codes_for_labels(backend, activations):
    net = Network([4, 8, 10], activations, seed=0, backend=backend)
    codes = np.arange(60) % 10
    said(lambda: net.fit(X, codes, progress=False), "softmax", "yes or no")
    said(lambda: net.fit(X, codes, progress=False), "softmax")  # once a fit
    said(lambda: net.train_step(X, codes), "softmax")
    with nothing_said():
        net.train_step(X, codes)  # once a network: each is but a batch
        net.fit(X, np.eye(10)[codes].T, progress=False)
    A = net.predict(X)
    with nothing_said():
        assert net.evaluate(X, codes)["accuracy"] == (A.argmax(axis=0) == codes).mean()
        assert net.evaluate(X, np.eye(10)[codes].T)["accuracy"] == ((A >= 0.5) == np.eye(10)[codes].T).mean()


def test_soft_labels_for_a_network_whose_loss_nobody_chose(backend):
    soft = (VALUES - VALUES.min()) / np.ptp(VALUES)
    for y in (soft, soft[None], soft.astype("f4"), pd.Series(soft)):
        net = Network([4, 8, 1], seed=0, backend=backend)
        said(lambda n=net, y=y: n.fit(X, y, progress=False), 'loss="mse"', "such labels")
        with nothing_said():
            net.fit(X, BINARY, progress=False)
            net.fit(X, BINARY * 1.0, progress=False)
    for chosen in ({"loss": "binary_cross_entropy"}, {"activations": ["relu", "sigmoid"]}, {"loss": "mse"}):
        net = Network([4, 8, 1], seed=0, backend=backend, **chosen)
        with nothing_said():
            net.fit(X, soft, progress=False)
    loaded = Network([4, 8, 1], seed=0, backend=backend)
    file = io.BytesIO()
    loaded.save(file)
    file.seek(0)
    with nothing_said():
        fastnn.load(file, backend=backend).fit(X, soft, progress=False)


def test_one_hot_rows_where_both_ways_fit(backend):
    net = Network([4, 5], seed=0, backend=backend)
    rows = np.eye(5)[[0, 0, 1, 2, 2]]
    few = X[:, :5]
    said(lambda: net.fit(few, rows, progress=False), "did you mean y.T")
    said(lambda: net.train_step(few, rows.astype("f4")), "did you mean y.T")
    with nothing_said():
        net.train_step(few, rows.astype("f4"))
        net.fit(few, rows.T, progress=False)
        net.fit(few, np.eye(5), progress=False)
        chosen = Network([4, 5], loss="cross_entropy", seed=0, backend=backend)
        chosen.fit(few, np.full((5, 5), 0.2), progress=False)


def test_bytes_of_pixels(backend):
    images = RNG.integers(0, 256, (4, 60)).astype(np.uint8)
    net = Network([4, 8, 3], seed=0, backend=backend)
    said(lambda: net.fit(images, CODES, 3, optimizer=SGD(lr=0.1), progress=False), "X / 255", "scale")
    with nothing_said():
        Network([4, 8, 3], seed=0, backend=backend).fit(images / 255, CODES, progress=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: a.astype("f8"),
        lambda a: a[:, ::-1],
        lambda a: a.astype("i2"),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        pd.DataFrame,
    ],
)
@pytest.mark.parametrize("size", [50.0, -51.0, 51.0])
def test_one_large_feature_in_any_layout(backend, make, size):
    large = np.ones((4, 60), "f4")
    large[2] = size
    net = Network([4, 8, 3], seed=0, backend=backend)
    if abs(size) > 50:
        said(lambda: net.fit(make(large), CODES, optimizer=SGD(lr=1e-5), progress=False), "values of up to 51")
    else:
        with nothing_said():
            net.fit(make(large), CODES, optimizer=SGD(lr=1e-5), progress=False)


def test_largest(backend):
    from fastnn import backend as backends

    module = backends.get(backend) if backend in ("numpy", "compiled") else backends.default
    for shape in ((1, 1), (3, 7), (17, 33), (300, 5)):
        a = RNG.standard_normal(shape)
        for array in (a, a.astype("f4"), np.asfortranarray(a), a[::-1], a[:, ::-2], a[::2], a.astype("i4") * 9):
            assert module.largest(array, array.shape[1]) == np.abs(array).max()
        for bad in (np.nan, np.inf, -np.inf):
            b = a.copy()
            b[-1, -1] = bad
            assert module.largest(b, b.shape[1]) == np.inf
    assert module.largest(np.full((2, 2), -128, np.int8), 2) == 128


def test_a_first_epoch_that_makes_it_worse(backend):
    net = Network([4, 1], loss="mse", seed=0, backend=backend)
    said(lambda: net.fit(X, VALUES, optimizer=SGD(lr=1.2), batch_size=4, progress=False), "the loss rose", "scaling X")


def test_ordinary_training_is_silent(backend):
    digits, y = fastnn.datasets.load_digits()
    for sizes, targets, loss in (([64, 32, 10], y, None), ([64, 32, 1], y * 1.0, "mse"), ([64, 8, 1], y % 2, None)):
        net = Network(sizes, loss=loss, seed=0, backend=backend)
        with nothing_said():
            for _ in range(6):  # also where the loss of the first batch is by chance a small one
                net.fit(digits / 16, targets, optimizer=Adam(), batch_size=7, progress=False)


def test_a_later_fit_that_makes_it_worse(backend):
    digits, y = fastnn.datasets.load_digits()
    net = Network([64, 32, 10], seed=0, backend=backend)
    net.fit(digits / 16, y, 5, optimizer=Adam(), progress=False)
    said(lambda: net.fit(digits / 16, y, optimizer=SGD(lr=30), progress=False), "the loss rose")


def test_divergence_names_what_is_large(line):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        refused(
            lambda: line.fit(X, 1e6 * VALUES, 20, optimizer=SGD(lr=0.1), progress=False),
            FloatingPointError,
            "y holds values of up to",
            "learning rate (lr)",
        )
        refused(
            lambda: line.fit(1e5 * X, VALUES, 20, optimizer=SGD(lr=0.1), progress=False),
            FloatingPointError,
            "X holds values of up to",
            "learning rate (lr)",
        )
        refused(lambda: line.train_step(X, 1e30 * VALUES, SGD(lr=1e20)), FloatingPointError, "y holds")


def test_divergence_names_adapt_where_it_helps(either_backend):
    def net_of(loss="mse", output="identity"):
        return Network([4, 8, 1], ["relu", output], loss, seed=0, backend=either_backend)

    def words(net, *data, lr=0.1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            with pytest.raises(FloatingPointError) as caught:
                net.fit(*data, epochs=20, optimizer=SGD(lr=lr), progress=False)
            return str(caught.value)

    assert "make a new Network and call net.adapt(X) before training" in words(net_of(), 1e5 * X, VALUES)
    assert "call net.adapt(X, y) before training" in words(net_of(), X, 1e6 * VALUES)
    assert "scale X (net.adapt(X))" in words(net_of(), X, VALUES, lr=1e20)
    assert "net.adapt(X) before training" in words(net_of(), [(1e5 * X, VALUES)])
    # before any update
    assert "call net.adapt(X) before training" in words(net_of(), 1e30 * X, VALUES)
    # y of these cannot be standardised
    assert "adapt" not in words(net_of(output="tanh"), X, 1e30 * VALUES, lr=1e30)
    assert "adapt" not in words(net_of("poisson"), X, 1e6 * np.abs(VALUES))
    own = net_of(lambda A, y: (np.abs(A - y)[0], 1e5 * (A - y)))
    assert "call net.adapt(X) before training" in words(own, 1e5 * X, VALUES)
    assert "net.adapt(X)" in words(own, 1e38 * X, VALUES)
    with pytest.raises(FloatingPointError, match=r"the step diverged.*call net.adapt\(X\) before training"):
        own.train_step(1e5 * X, VALUES, SGD(lr=1e30))
    # a network that standardises: what it does already is no remedy
    for data in ((1e5 * X, VALUES), (1e5 * X, 1e6 * VALUES)):
        net = net_of()
        net.adapt(*data)
        text = words(net, *data, lr=1e30)
        assert "adapt" not in text
        assert "cale" not in text
        assert "smaller learning rate" in text
    net = net_of()
    net.adapt(X)
    assert "y holds values of up to" in words(net, X, 1e6 * VALUES)


def test_one_warning_a_fit_and_it_can_be_an_error(backend):
    net = Network([4, 8, 1], loss="mse", seed=0, backend=backend)
    said(lambda: net.fit(100 * X, 1e4 * VALUES, optimizer=SGD(lr=1e-6), progress=False), "scale")
    before = bits(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        with pytest.raises(DataWarning, match="scale"):
            net.fit(100 * X, VALUES, progress=False)
    assert bits(net) == before
    net.fit(X, VALUES, progress=False)


# --- the quick way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [BINARY, BINARY.astype("i4"), BINARY == 1, BINARY.astype("u1"), BINARY * 1.0, BINARY.astype("f4")],
    ids=lambda y: y.dtype.name,
)
@pytest.mark.parametrize("m", [1, 60])
def test_any_numbers_for_one_output_take_the_quick_way(dtype, y, m):
    from conftest import COMPILED

    if COMPILED is None:
        pytest.skip("no compiled backend here")
    for loss in ("binary_cross_entropy", "mse"):
        a, b = (Network([4, 8, 1], loss=loss, dtype=dtype, seed=0) for _ in range(2))
        part, optimizer = np.asfortranarray(X[:, :m], dtype), SGD(lr=0.1)
        a.train_step(part, y[:m].astype(dtype), optimizer)
        b.train_step(part, y[:m].astype(dtype), optimizer)
        a._trainable = None  # which the careful way needs
        assert a.train_step(part, y[:m], optimizer) == b.train_step(part, y[:m].astype(dtype), optimizer)
        assert bits(a) == bits(b)


def test_what_is_legal_for_one_output_is_still_asked(one):
    for bad in (2, -1, 1 << 40):
        for kind in ("i8", "f8"):
            y = BINARY.astype(kind)
            y[7] = bad
            with weights_unchanged(one), pytest.raises(ValueError, match="binary_cross_entropy needs values within"):
                one.train_step(X, y, SGD(lr=0.1))


def test_the_words_of_an_error_are_short():
    """Whatever came, none of it is shown at length."""
    large = np.arange(10_000)
    for call in (
        lambda: SGD(lr=large),
        lambda: Network([2, 3], activations=large),
        lambda: Network(large.astype(str)),
        lambda: Network([2, 3], dtype=large),
        lambda: Network([2, 3], loss=large),
        lambda: Network([2, 3]).fit(X, X, optimizer=large),
        lambda: Network([4, 3]).fit(X, CODES, callbacks=large),
        lambda: Network([4, 3]).fit(X, CODES, epochs=large),
        lambda: Network([4, 3]).fit(X, CODES, shuffle=large),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert len(re.sub(r"\s+", " ", str(caught.value))) < 300, str(caught.value)


# --- what a first trial found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [None, Closed(), Broken(), object()])
def test_a_warning_that_cannot_be_shown_stops_nothing(backend, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        history = Network([4, 3], backend=backend, seed=0).fit(100 * X, CODES, progress=False)
    monkeypatch.undo()
    assert len(history.loss) == 1


def test_subclasses_of_optimizers(three):
    class Warm(SGD):
        def __init__(self, lr, steps):
            super().__init__(lr)
            self.steps = steps

    three.fit(X, CODES, optimizer=Warm(0.1, 5), progress=False)
    assert SGD(lr=np.array(0.1)).lr == 0.1
    refused(lambda: SGD("0.1"), TypeError, "lr must be a real number, got '0.1'")


def test_subclasses_have_fields_of_their_own(backend):
    class Estimator(Network):
        def __init__(self, alpha, layers):
            super().__init__([4, 3], backend=backend)
            self.alpha, self.layers, self.n_features_in_, self.device, self.w = alpha, layers, 4, "cpu", 0

    assert Estimator(0.1, 2).alpha == 0.1

    class Hasty(Network):
        def __init__(self):
            pass

    refused(lambda: Hasty().predict(X), AttributeError, "_engine")
    net = Network([4, 3], backend=backend)
    assert getattr(net, "", None) is None
    net.n_features_in_ = 4


def test_decorated_callbacks(three):
    def of_history(history):
        pass

    @functools.wraps(of_history)
    def callback(epoch, history):
        of_history(history)

    assert len(three.fit(X, CODES, 2, callbacks=callback, progress=False).loss) == 2
    three.fit(X, CODES, callbacks=None, progress=False)

    class Stopper:
        def __call__(self, epoch, history):
            pass

    class Own(Stopper):
        def __init__(self, a, b, c):
            pass

    refused(lambda: three.fit(X, CODES, callbacks=Own), TypeError, "write Own()")
    three.fit(X, CODES, callbacks=Stopper(), progress=False)


def test_labels_are_asked_before_they_are_rounded(backend):
    net = Network([4, 1], seed=0, backend=backend)
    for bad in (1 + 1e-9, -1e-60):
        y = BINARY * 1.0
        y[5] = bad
        with pytest.raises(ValueError, match="binary_cross_entropy needs values within"):
            net.train_step(X, y, SGD())


def test_a_regression_of_several_targets_by_default(backend):
    Y = np.abs(X[:2])
    said(lambda: Network([4, 8, 2], seed=0, backend=backend).fit(X, Y, progress=False), 'loss="mse"')
    with nothing_said():
        Network([4, 8, 2], loss="mse", seed=0, backend=backend).fit(X, Y, progress=False)
        Network([4, 8, 3], seed=0, backend=backend).fit(X, np.eye(3)[CODES].T, progress=False)


def test_codes_of_a_part_of_the_classes(backend):
    net = Network([4, 10], seed=0, backend=backend)
    refused(lambda: net.train_step(X[:, :2], np.array([3, 10])), ValueError, "write y - 1")
    refused(lambda: net.train_step(X[:, :2], np.array([30, 20])), ValueError, "once, of all the labels")


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("lr", [1e-3, 1e-2])
def test_a_lucky_first_batch_is_no_alarm(backend, batch_size, lr):
    rng = np.random.default_rng(batch_size)
    for seed in range(1 if backend == "numpy" and PROFILE != "explore" else 3):  # where the steps take long
        P = rng.standard_normal((5, 300)).astype("f4")
        targets = P[0] * P[1] + np.sin(P[2]) + 0.3 * rng.standard_normal(300)
        net = Network([5, 16, 1], loss="mse", seed=seed, backend=backend)
        with nothing_said():
            net.fit(P, targets / targets.std(), 2, batch_size, Adam(lr=lr), progress=False)
            twin = pickle.loads(pickle.dumps(net))
            for _ in range(3):
                twin.fit(P, targets / targets.std(), 1, batch_size, progress=False)


def test_a_solved_problem_is_no_alarm(backend):
    net = Network([4, 1], loss="mse", seed=0, dtype="float64", backend=backend)
    y = X.sum(axis=0).astype("f8")
    with nothing_said():
        net.fit(X, y, 400, optimizer=SGD(lr=0.1), progress=False)
        assert net.loss(X, y) < 1e-12
        net.fit(X, y, optimizer=Adam(), progress=False)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX only")
@pytest.mark.parametrize("how", [{}, {"batch_size": None}, {"callbacks": lambda e, h: None}])
def test_ctrl_c_leaves_the_whole_history(either_backend, how):
    net = Network([4, 3], seed=0, backend=either_backend)
    for delay in (0.02, 0.11):
        before = net.epochs_done
        gc.collect()  # what is raised in a finalizer is lost
        gc.disable()
        signal.setitimer(signal.ITIMER_REAL, delay)
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                net.fit(X, CODES, 10**7, progress=False, **how)
        finally:
            gc.enable()
            signal.signal(signal.SIGALRM, old)
        assert len(caught.value.history.loss) == net.epochs_done - before > 0


def test_a_failure_before_the_first_step_has_a_history_too(three):
    three.set_parameters([(W * np.nan, b) for W, b in three.parameters])
    with pytest.raises(ValueError, match="W of layer 1") as caught:
        three.fit(X, CODES, progress=False)
    assert caught.value.history.loss == []


def test_parameters_are_unpickled_without_us(three):
    assert b"fastnn" not in pickle.dumps(three.parameters)
    assert type(pickle.loads(pickle.dumps(three.parameters))) is list


ADVICE = [
    (
        lambda n: n.predict([1.0, 2, 3, 4]),
        lambda n, a: n.predict(np.asarray([1.0, 2, 3, 4])[:, None]),
        "np.asarray(X)[:, None]",
    ),
    (lambda n: n.predict(X.T.tolist()), lambda n, a: n.predict(np.asarray(X.T.tolist()).T), "np.asarray(X).T"),
    (lambda n: n.fit(X, (CODES * 1.0).tolist()), None, "np.asarray(y).astype(int)"),
    (lambda n: n.fit(X, (CODES + 1).tolist()), None, "np.asarray(y) - 1"),
    (lambda n: n.predict([{"a": 1.0}]), None, "pandas.DataFrame(X).T"),
    (lambda n: n.loss(X, CODES, sample_weight="balanced"), None, "np.array([1.0, 5.0])[y]"),
    (lambda n: n.loss(X, CODES, sample_weight={0: 1.0, 1: 2.0}), None, "np.array([1.0, 5.0])[y]"),
    (lambda n: n.fit(X, CODES, sample_weight="balanced"), None, 'class_weight="balanced" in fit'),
    (lambda n: n.fit(X, CODES, sample_weight=np.ones((60, 1))), None, "write sample_weight.ravel()"),
    (lambda n: n.fit(X, CODES, sample_weight=[[1.0]] * 60), None, "write np.asarray(sample_weight).ravel()"),
    (lambda n: n.fit(X, CODES, class_weight=[1, 2, 3]), None, "write dict(enumerate(class_weight))"),
    (lambda n: n.fit(X, CODES, class_weight=pd.Series([1, 2, 3])), None, "write dict(enumerate(class_weight)) "),
    (lambda n: n.fit(X, CODES, class_weight="Balanced"), None, "did you mean 'balanced'?"),
    (lambda n: n.fit(X, CODES, samples=10), None, "write range(samples) for the first ones"),
    (lambda n: n.fit(X, CODES, samples=slice(10)), None, "write np.arange(m)[samples]"),
    (lambda n: n.fit(X, CODES, samples=np.where(CODES)), None, "write samples[0]"),
    (lambda n: n.fit(X, CODES, samples=(np.arange(40), np.arange(20))), None, "write samples[0] for the first"),
    (
        lambda n: n.fit(X, CODES, validation_data=[(X, CODES)]),
        lambda n, a: n.fit(X, CODES, validation_data=[(X, CODES)][0]),
        "write validation_data[0]",
    ),
    (
        lambda n: n.fit(X, CODES, validation_data=[(X, CODES)] * 4),
        lambda n, a: n.fit(
            X, CODES, validation_data=tuple(np.concatenate(parts, axis=-1) for parts in zip(*[(X, CODES)] * 4))
        ),
        "write tuple(np.concatenate(parts, axis=-1) for parts in zip(*validation_data))",
    ),
    (lambda n: n.fit(X, CODES, early_stopping=True), None, "got True: write early_stopping=10"),
    (lambda n: n.fit(X, CODES, early_stopping=False), None, "got False: write early_stopping=None"),
    (lambda n: n.fit(X, CODES, early_stopping=EarlyStopping("accuracy")), None, "write metrics=['accuracy']"),
    (
        lambda n: n.fit(X, CODES, early_stopping=EarlyStopping("acc"), metrics=["accuracy"]),
        None,
        "did you mean 'accuracy'?",
    ),
    (
        lambda n: n.fit(
            X, CODES, early_stopping=EarlyStopping("val_acc"), metrics=["accuracy"], validation_data=(X, CODES)
        ),
        None,
        "did you mean 'val_accuracy'?",
    ),
    (lambda n: EarlyStopping(restore_best_weights=True), None, "did you mean 'restore_best'?"),
    (lambda n: EarlyStopping(3), None, "got 3: write patience=3"),
    (lambda n: Checkpoint("m.npz", save_best_only=True), None, "did you mean 'best'?"),
    (lambda n: CSVLog("m.csv", append=True), None, "CSVLog() has no argument 'append'"),
    (lambda n: Checkpoint("m{epoch:02d}.npz"), None, "path has {epoch:02d}"),
    (lambda n: n.fit(X, CODES, callbacks=[EarlyStopping]), None, "write early_stopping=EarlyStopping(...)"),
    (lambda n: n.fit(X, CODES, optimizer=schedules.Cosine(0.1, 5)), None, "write fastnn.SGD(lr=...)"),
    (lambda n: Adam([0.1, 0.01]), None, "give a schedule, or a function of the time t"),
    (lambda n: Adam({0: 0.1, 10: 0.01}), None, "give a schedule, or a function of the time t "),
    (lambda n: Adam(global_clipnorm=1.0), None, "did you mean 'clip_norm'?"),
    (lambda n: schedules.ReduceLROnPlateau, None, "did you mean 'Plateau'?"),
    (lambda n: Adam(("step", 0.1, 10)), None, 'write ("step", {"lr": ..., "every": ..., "factor": ...})'),
    (lambda n: Adam("one_cycle"), None, 'write lr=("one_cycle", {"lr": ..., "length": ...})'),
    (lambda n: fastnn.Cosine, None, "write fastnn.schedules.Cosine"),
    (lambda n: fastnn.StepLR, None, "write fastnn.schedules.Step"),
    (lambda n: fastnn.load_digits, None, "write fastnn.datasets.load_digits"),
    (lambda n: schedules.CosineAnnealingLR, None, "did you mean 'Cosine'?"),
    (lambda n: schedules.OneCycle(0.1, epochs=10), None, "did you mean 'length'?"),
    (lambda n: Network([4, 8, 3], norm="BatchNorm1d"), None, "did you mean 'batch'?"),
    (lambda n: n.fit(X, CODES, progress=False)["loss"], None, "give history.loss, history.val_loss"),
    (
        lambda n: n.fit(X, CODES, metrics=["accuracy"], progress=False).accuracy,
        None,
        "write history.metrics['accuracy']",
    ),
    (
        lambda n: n.fit(X, CODES, metrics=["accuracy"], validation_split=0.2, progress=False).accuracy,
        None,
        "write history.metrics['val_accuracy']",
    ),
    (
        lambda n: n.fit(X, CODES, metrics=["accuracy"], validation_split=0.2, progress=False).val_acc,
        None,
        "write history.metrics['val_accuracy']",
    ),
    (lambda n: n.fit(X, CODES, validation_data=(CODES, X)), None, "the order is (X, y)"),
    (lambda n: n.fit(X, CODES, metrics=None), None, "got None: leave it out"),
    (lambda n: n.fit(X, CODES, metrics=[accuracy_score]), None, "accuracy_score of sklearn, whose samples are rows"),
    (lambda n: n.evaluate(X, CODES, metrics=[dict]), None, "metrics[0] is a class, dict"),
    (
        lambda n: n.evaluate(X, CODES, metrics=[lambda A, y: (A.argmax(axis=0) == y).mean()]),
        None,
        "must take (y, A), the targets first",
    ),
    (
        lambda n: Network([4, 8, 1], loss=lambda y_true, y_pred: (y_true, y_pred)),
        None,
        "must take (A, y), the outputs first",
    ),
    (lambda n: Adam(n.parameters, lr=0.1), None, "no parameters"),
    (lambda n: n.evaluate(X, CODES, verbose=0), None, "it has X, y"),
    (lambda n: n.fit(X, CODES, optimizer=True), None, "SGD, Adam, AdamW"),
    (lambda n: n.fit(X, CODES, progress=False).predict(X), None, "the network is still net"),
    (lambda n: n.eval(), None, "there are no modes"),
    (lambda n: n.double(), None, "dtype="),
    (lambda n: Network([4, 8, 3], "softmax"), None, "write ['relu', 'softmax']"),
    (lambda n: Network([4, 8, 3], "relu"), None, "write ['relu', 'softmax']"),
]


@pytest.mark.parametrize(("call", "advised", "words"), ADVICE, ids=[words for *_, words in ADVICE])
def test_advice_that_was_of_no_use(three, call, advised, words):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        call(three)
    assert words in str(caught.value), str(caught.value)
    if advised:
        advised(three, None)


def test_functions_whose_parameters_have_other_names_are_taken(one):
    def metric(outputs, extra=0):
        return float(extra.size)

    found = one.evaluate(X, BINARY, metrics=[metric, lambda y, A: 1.0])
    assert (found["metric"], found["<lambda>"]) == (60.0, 1.0)
    loss = lambda a, b: ((a - b)[0] ** 2, 2 * (a - b))  # noqa: E731
    assert Network([4, 1], loss=loss, seed=0).loss(X, VALUES) > 0


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_epochs_after_the_end_of_a_cosine_are_told(three, per):
    """They change nothing, which only the list of learning rates would say."""
    length = 5 if per == "epoch" else 10  # 60 samples are two batches
    sgd = SGD(schedules.Cosine(0.1, length, per=per))
    with nothing_said():
        three.fit(X, CODES, 5, optimizer=sgd, progress=False)
    before = bits(three)
    said(lambda: three.fit(X, CODES, 3, optimizer=sgd, progress=False), "0 in the last 3 of 3 epochs")
    assert bits(three) == before
    with nothing_said():
        three.fit(X, CODES, 5, optimizer=SGD(schedules.Cosine(0.1, length, per=per)), progress=False)
        three.fit(X, CODES, 9, optimizer=SGD(schedules.Cosine(0.1, length, final=0.01, per=per)), progress=False)
        three.fit(X, CODES, 1, None, optimizer=SGD(schedules.Cosine(0.1, 9, warmup=2)), progress=False)
        three.fit(X, CODES, 2, optimizer=SGD(0.0), progress=False)


@pytest.mark.parametrize("way", ["train_step", "own loss", "update"])
def test_a_new_optimizer_object_for_each_update_is_told_once(one, way):
    """Its moments begin at 0 each time, so that Adam makes steps of the size lr in the direction of the sign."""
    square = lambda A, y: (((A - y) ** 2).sum(axis=0), 2 * (A - y))  # noqa: E731

    def step(optimizer):
        if way == "update":
            one.update(one.gradients(X, BINARY)[1], optimizer)
        else:
            one.train_step(X, BINARY, optimizer, loss=None if way == "train_step" else square)

    with nothing_said():
        for _ in range(5):
            step(SGD(0.01))  # has no moments
        adam = Adam()
        for _ in range(5):
            step(adam)
        step(Adam())
        step(Adam())
    said(lambda: [step(Adam()) for _ in range(5)], "another Adam object", "optimizer = fastnn.Adam(...)")


def test_adapt_after_training_is_told(one):
    with nothing_said():
        one.fit(X, BINARY, epochs=0, progress=False)
        one.adapt(X)  # before the first epoch
        one.fit(X, BINARY, progress=False)
        one.adapt(X)  # again
    late = Network([4, 1], seed=0)
    late.fit(X, BINARY, 2, progress=False)
    said(lambda: late.adapt(X), "epochs_done is 2", "before the first fit")


def test_scaling_as_advised_takes_features_that_never_change(backend):
    digits, y = fastnn.datasets.load_digits()
    large = pd.DataFrame(digits * 16)
    net = Network([64, 10], seed=0, backend=backend)
    said(lambda: net.fit(large, y, optimizer=SGD(lr=1e-6), progress=False), ".clip(1e-3)")
    A = np.asarray(large)
    with nothing_said():
        net.fit((A - A.mean(axis=1, keepdims=True)) / A.std(axis=1, keepdims=True).clip(1e-3) / 10, y, progress=False)
