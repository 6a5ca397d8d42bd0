"""What to write instead of names that other libraries use, of names spelt a little wrong, of calls that fit nothing.

One table of synonyms serves all such answers. Nothing here is run before something has gone wrong.
"""

import functools

# What scikit-learn, Keras, PyTorch, JAX and textbooks call it, in small letters without "_", "-" or spaces -> the
# names that it has here, the likeliest first.
_SYNONYMS = {
    # activations
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "expit": "sigmoid",
    "hardsigmoid": "sigmoid",
    "hyperbolictangent": "tanh",
    "rectifier": "relu",
    "rectifiedlinear": "relu",
    "softargmax": "softmax",
    "lrelu": "leaky_relu",
    "logsoftmax": "softmax",
    # losses
    "bce": "binary_cross_entropy",
    "bceloss": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "logloss": "binary_cross_entropy cross_entropy",
    "ce": "cross_entropy",
    "crossentropyloss": "cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "softmaxcrossentropy": "cross_entropy",
    "negativeloglikelihood": "cross_entropy",
    "nll": "cross_entropy",
    "nllloss": "cross_entropy",
    "meansquarederror": "mse",
    "squarederror": "mse",
    "squaredloss": "mse",
    "mseloss": "mse",
    "quadratic": "mse",
    "l2loss": "mse",
    "meanabsoluteerror": "mae",
    "absoluteerror": "mae",
    "l1loss": "mae",
    "l1": "mae",
    # initialisers
    "glorot": "xavier",
    "glorotnormal": "xavier",
    "xaviernormal": "xavier",
    "glorotuniform": "xavier_uniform",
    "kaiming": "he",
    "kaimingnormal": "he",
    "henormal": "he",
    "kaiminguniform": "he_uniform",
    "lecunnormal": "lecun",
    "gaussian": "normal",
    "randomnormal": "normal",
    "randn": "normal",
    "zero": "zeros",
    # settings of an optimizer
    "lr": "lr",
    "learningrate": "lr",
    "learnrate": "lr",
    "learningrateinit": "lr",
    "eta": "lr",
    "eta0": "lr",
    "stepsize": "lr",
    "alpha": "weight_decay",
    "decay": "weight_decay",
    "l2": "weight_decay",
    "l2penalty": "weight_decay",
    "wd": "weight_decay",
    "mu": "momentum",
    "nesterovsmomentum": "nesterov",
    "epsilon": "eps",
    "beta1": "betas",
    "beta2": "betas",
    "beta": "betas",
    # settings of a training
    "solver": "optimizer",
    "optim": "optimizer",
    "opt": "optimizer",
    "optimiser": "optimizer",
    "epoch": "epochs",
    "maxiter": "epochs",
    "maxepochs": "epochs",
    "nepochs": "epochs",
    "nbepoch": "epochs",
    "numepochs": "epochs",
    "niter": "epochs epochs_done",
    "iterations": "epochs",
    "batch": "batch_size",
    "minibatchsize": "batch_size",
    "verbose": "progress",
    "disp": "progress",
    "callback": "callbacks",
    "sampleweights": "sample_weight",
    # settings of a network
    "hiddenlayersizes": "sizes",
    "layersizes": "sizes",
    "layers": "sizes",
    "units": "sizes",
    "hidden": "sizes",
    "nhidden": "sizes",
    "nfeaturesin": "sizes",
    "infeatures": "sizes",
    "outfeatures": "sizes",
    "inputdim": "sizes",
    "inputshape": "sizes",
    "activation": "activations",
    "activationfunction": "activations",
    "nonlinearity": "activations",
    "outactivation": "activations",
    "criterion": "loss",
    "lossfn": "loss",
    "lossfunction": "loss",
    "objective": "loss",
    "cost": "loss",
    "kernelinitializer": "init",
    "initializer": "init",
    "weightinit": "init",
    "randomstate": "seed",
    "rng": "seed",
    "njobs": "threads",
    "numthreads": "threads",
    "nthreads": "threads",
    "double": "dtype",
    "half": "dtype",
    # weights
    "w": "parameters",
    "b": "parameters",
    "weight": "parameters",
    "weights": "parameters",
    "bias": "parameters",
    "biases": "parameters",
    "params": "parameters",
    "coef": "parameters",
    "coefs": "parameters",
    "intercept": "parameters",
    "intercepts": "parameters",
    "trainablevariables": "parameters",
    "trainableweights": "parameters",
    "namedparameters": "parameters",
    "statedict": "parameters",
    "getweights": "parameters",
    "setweights": "set_parameters",
    "loadstatedict": "set_parameters",
    "loadweights": "load",
    "saveweights": "save",
    # what is done with a network
    "predictproba": "predict",
    "predictlogproba": "predict",
    "predictonbatch": "predict",
    "decisionfunction": "predict",
    "call": "predict",
    "apply": "predict",
    "transform": "predict",
    "inference": "predict",
    "predictclass": "predict_classes",
    "predictlabels": "predict_classes",
    "score": "evaluate",
    "accuracy": "evaluate",
    "testonbatch": "evaluate",
    "partialfit": "train_step",
    "trainonbatch": "train_step",
    "step": "train_step",
    "train": "fit",
    "fitgenerator": "fit",
    "compile": "optimizer",
    "backward": "gradients",
    "grad": "gradients",
    "grads": "gradients",
    "zerograd": "gradients",
    "eval": "training",
    "requiresgrad": "training",
    "lossvalue": "loss",
    "losscurve": "loss_curve",
    "history": "loss_curve",
    "bestloss": "loss_curve",
    "loadmodel": "load",
    "savemodel": "save",
    "dump": "save",
    "numparams": "n_params",
    "countparams": "n_params",
    "nparams": "n_params",
    "clone": "copy",
    # what is made
    "mlp": "Network",
    "mlpclassifier": "Network",
    "mlpregressor": "Network",
    "sequential": "Network",
    "model": "Network",
    "net": "Network",
    "nn": "Network",
    "module": "Network",
    "neuralnetwork": "Network",
    "dense": "Network",
    "functional": "kernels",
    "ops": "kernels",
    "optimizers": "SGD Adam AdamW",
    "setnumthreads": "set_threads",
    "getnumthreads": "get_threads",
    "showversions": "info",
    "showconfig": "info",
    "data": "datasets",
    "loaddigits": "datasets",
}

# Where that stands which is no attribute of a network: settings, weights and results elsewhere. None of these can be
# assigned, because nothing would come of it.
_PLACES = {
    "lr": "net.fit(X, y, optimizer=fastnn.SGD(lr=...))",
    "weight_decay": "net.fit(X, y, optimizer=fastnn.SGD(weight_decay=...))",
    "momentum": "net.fit(X, y, optimizer=fastnn.SGD(momentum=...))",
    "nesterov": "net.fit(X, y, optimizer=fastnn.SGD(momentum=0.9, nesterov=True))",
    "betas": "net.fit(X, y, optimizer=fastnn.Adam(betas=...))",
    "eps": "net.fit(X, y, optimizer=fastnn.Adam(eps=...))",
    "optimizer": "net.fit(X, y, optimizer=fastnn.Adam())",
    "epochs": "net.fit(X, y, epochs=...)",
    "batch_size": "net.fit(X, y, batch_size=...)",
    "shuffle": "net.fit(X, y, shuffle=...)",
    "sample_weight": "net.fit(X, y, sample_weight=...)",
    "callbacks": "net.fit(X, y, callbacks=...)",
    "progress": "net.fit(X, y, progress=...)",
    "init": "fastnn.Network(sizes, init=...)",
    "backend": "fastnn.Network(sizes, backend=...)",
    "threads": "fastnn.Network(sizes, threads=...), or fastnn.set_threads(...)",
    "sizes": "fastnn.Network([n_0, ..., n_L])",
    "activations": "fastnn.Network(sizes, activations=[...])",
    "loss": "fastnn.Network(sizes, loss=...)",
    "loss_name": "fastnn.Network(sizes, loss=...)",
    "dtype": 'fastnn.Network(sizes, dtype="float64")',
    "seed": "fastnn.Network(sizes, seed=...)",
    "parameters": "net.set_parameters([(W, b), ...])",
    "training": "net.fit(X, y) to train and net.predict(X) to predict; there are no modes",
}
# Of those that mean it elsewhere, words that a user may well mean something else by.
_WORDS = {"units", "layers", "hidden", "nfeaturesin", "batch", "cost", "objective", "iterations", "double", "half"}
_WORDS |= {"mu", "beta", "decay", "opt"}
# What to write where it is asked for, not set, if that is something else.
_READINGS = {
    "parameters": "net.parameters, a list of (W, b)",
    "loss_curve": "history = net.fit(X, y), then history.loss",
    "load": "fastnn.load(path)",
    "copy": "copy.copy(net)",
    "Network": "fastnn.Network(sizes)",
    "sizes": "net.sizes",
    "loss": "net.loss(X, y), or net.loss_name",
    "predict": "net.predict(X)",
    "predict_classes": "net.predict_classes(X)",
    "evaluate": "net.evaluate(X, y)",
    "train_step": "net.train_step(X, y, optimizer)",
    "fit": "net.fit(X, y)",
    "gradients": "net.gradients(X, y)",
    "set_parameters": "net.set_parameters([(W, b), ...])",
    "save": "net.save(path)",
    "n_params": "net.n_params",
    "epochs_done": "net.epochs_done",
    "seed": "net.seed",
    "activations": "net.activations",
}


def _plain(name):
    return "".join(c for c in name.lower() if c not in "_- ")


def name_of(thing):
    """What a function, or a class or an object of one, is called."""
    name = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def ours(name):
    """The names that we have for what others call `name`; itself where it is one of ours."""
    return _SYNONYMS.get(_plain(name), name).split(" ") if name else [name]


def did_you_mean(name, choices):
    """``"; did you mean 'relu'?"``: the choices that `name` is a synonym of, or nearly spells; "" without one."""
    choices = list(choices)
    found = [our for our in ours(name) if our in choices]
    if not found:
        import difflib  # as inspect below, it takes as long to import as a good part of fastnn

        plain = {_plain(choice): choice for choice in choices}
        found = [plain[close] for close in difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.8)]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def is_setting_elsewhere(name):
    """Whether it is the name of a setting or of weights, here or in another library, and hardly of anything else."""
    return ours(name)[0] in _PLACES and _plain(name) not in _WORDS


def assignment(name):
    """What to write instead of ``net.name = value``."""
    return f"write {_PLACES[ours(name)[0]]}"


def attribute(name):
    """What to write instead of ``net.name``."""
    read = [_READINGS[our] for our in ours(name) if our in _READINGS]
    return f"write {read[0] if read else _PLACES[ours(name)[0]]}"


_TRAINERS = ("Network", "fit", "SGD", "Adam", "AdamW")  # whose arguments are often looked for at another of them


def argument(function, name, accepted):
    """The message of a TypeError: `function` was given a keyword that it does not have."""
    text, our = f"{function}() has no argument {name!r}", ours(name)[0]
    if our in accepted or our not in _PLACES or function not in _TRAINERS:
        return text + (did_you_mean(name, accepted) or f"; it has {', '.join(accepted)}")
    return f"{text}; what does that is {_PLACES[our]}"


# What people look for at a network, as scikit-learn, Keras and PyTorch spell it.
# fmt: off
NAMES_ELSEWHERE = frozenset((
    "predict_proba", "predict_log_proba", "decision_function", "predict_on_batch", "score", "partial_fit",
    "train_on_batch", "test_on_batch", "weights", "W", "b", "bias", "coefs_", "intercepts_", "coef_", "intercept_",
    "trainable_variables", "trainable_weights", "state_dict", "get_weights", "named_parameters", "set_weights",
    "load_state_dict", "load", "load_weights", "save_weights", "compile", "train", "eval", "zero_grad", "backward",
    "lr", "learning_rate", "optimizer", "n_iter_", "loss_curve_", "best_loss_", "history", "count_params",
    "hidden_layer_sizes", "n_features_in_", "random_state", "activation", "double", "half", "requires_grad",
    "training", "call",
))
# fmt: on


class Elsewhere:
    """A name that a class does not have: to read it tells what to write; an instance may have it.

    Parameters
    ----------
    instead : str
        What to write.
    """

    def __init__(self, instead):
        self._instead = instead

    def __set_name__(self, owner, name):
        self._name = name

    def __repr__(self):
        return f"<not here: {self._instead}>"

    def __get__(self, instance, owner):
        raise AttributeError(f"{owner.__name__} has no {self._name!r}: {self._instead}", name=self._name, obj=instance)


def tell_elsewhere(owner, names, instead):
    """Give a class such names, each with what `instead` makes of it.

    Not by __getattr__: beside that, to read an attribute that is there takes three times as long.
    """
    for name in names:
        here = Elsewhere(instead(name))
        here.__set_name__(owner, name)
        setattr(owner, name, here)


def explained(function):
    """Let a call with an argument that `function` does not have tell what to write instead."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except TypeError:
            told = _misfit(function, args, kwargs)
            if told is None:
                raise
        raise TypeError(told)

    return call


def misfit(function, args):
    """Whether `function` says that it cannot be called with so many arguments."""
    import inspect

    try:
        inspect.signature(function, follow_wrapped=False).bind(*args)
    except TypeError:
        return True
    except ValueError:  # of some compiled functions nothing is known
        pass
    return False


def _misfit(function, args, kwargs):
    """What is wrong with such a call; None if the arguments fit, or Python says it as well."""
    import inspect

    names = list(inspect.signature(function).parameters)
    owner, _, name = function.__qualname__.rpartition(".")
    if name == "__init__":
        name = owner
    accepted = [p for p in names if p != "self"]
    for key in kwargs:
        if key not in names:
            return argument(name, key, accepted)
        if key in names[: len(args)]:
            if accepted[0] == "lr":
                return (
                    f"{name}() got {key} twice: it holds settings only, and no parameters; write fastnn.{name}(lr=...)"
                )
            return f"{name}() got {key} twice, by its place and by its name; by their places come {', '.join(accepted)}"
    return None
