"""Suggestions in error messages: for names of other libraries, for misspelt names, and for wrong arguments.

One table of synonyms serves all of them. Looking up a suggestion costs time only after an error.
"""

import functools

# Name in scikit-learn, Keras, PyTorch, JAX or textbooks, in lower case without "_", "-" and spaces -> the names here,
# separated by spaces, the likeliest first.
_SYNONYMS = {
    # activations
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "expit": "sigmoid",
    "hyperbolictangent": "tanh",
    "prelu": "leaky_relu",
    "rectifier": "relu",
    "rectifiedlinear": "relu",
    "softargmax": "softmax",
    "lrelu": "leaky_relu",
    "swish": "silu",
    "geluexact": "gelu",
    "exponentiallinear": "elu",
    "scaledexponentiallinear": "selu",
    "softrelu": "softplus",
    "mish": "silu",
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
    "huberloss": "huber",
    "smoothl1": "huber",
    "smoothl1loss": "huber",
    "pinball": "quantile",
    "pinballloss": "quantile",
    "quantileloss": "quantile",
    "poissonnll": "poisson",
    "poissonnllloss": "poisson",
    "gaussiannllloss": "gaussian_nll",
    "normalnll": "gaussian_nll",
    # metrics
    "acc": "accuracy",
    "binaryaccuracy": "accuracy",
    "categoricalaccuracy": "accuracy",
    "accuracyscore": "accuracy",
    "topkaccuracy": "top_k",
    "top5": "top_k",
    "rocauc": "auc",
    "auroc": "auc",
    "rocaucscore": "auc",
    "f1score": "f1",
    "r2score": "r2",
    "rootmeansquarederror": "rmse",
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
    "stepsize": "every lr",
    "alpha": "weight_decay",
    "decay": "weight_decay lr_decay",
    "l2": "weight_decay",
    "l2penalty": "weight_decay",
    "wd": "weight_decay",
    "mu": "momentum",
    "nesterovsmomentum": "nesterov",
    "rho": "alpha",
    "smoothingconstant": "alpha",
    "learningratedecay": "lr_decay",
    "scheduledecay": "momentum_decay",
    "epsilon": "eps",
    "beta1": "betas",
    "beta2": "betas",
    "beta": "betas",
    "globalclipnorm": "clip_norm",
    "maxgradnorm": "clip_norm",
    # settings of a schedule
    "gamma": "factor",
    "maxlr": "lr",
    "initiallearningrate": "lr",
    "powert": "power",
    "tmax": "length",
    "totalsteps": "length",
    "decaysteps": "length every",
    "etamin": "final",
    "warmupsteps": "warmup",
    # arguments of fit
    "solver": "optimizer",
    "optim": "optimizer",
    "opt": "optimizer",
    "optimiser": "optimizer",
    "epoch": "epochs",
    "epochs": "epochs length",
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
    "classweights": "class_weight",
    "evalset": "validation_data",
    "validset": "validation_data",
    "valdata": "validation_data",
    "earlystop": "early_stopping",
    "niternochange": "early_stopping",
    "patience": "early_stopping",
    "timelimit": "max_seconds",
    # settings of EarlyStopping and of callbacks
    "restorebestweights": "restore_best",
    "startfromepoch": "start_epoch",
    "tol": "min_delta",
    "savebestonly": "best",
    "period": "every",
    "savefreq": "every",
    "filepath": "path",
    "filename": "path",
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
    "metric": "metrics",
    "scoring": "metrics",
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
    "standardization": "standardisation",
    "standardize": "standardisation",
    "standardise": "standardisation",
    "normalize": "standardisation",
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
    # methods of a network
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
    # classes, modules and functions of the package
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
    "optimizers": "SGD Adam AdamW NAdam RMSprop Adagrad",
    "setnumthreads": "set_threads",
    "getnumthreads": "get_threads",
    "showversions": "info",
    "showconfig": "info",
    "lrscheduler": "schedules",
    "plateau": "schedules",
    "cosine": "schedules",
    "onecycle": "schedules",
    "inversescaling": "schedules",
    "scheduler": "schedules",
    "steplr": "schedules Step",
    "exponentiallr": "schedules Exponential",
    "exponentialdecay": "schedules Exponential",
    "cosineannealinglr": "schedules Cosine",
    "cosinedecay": "schedules Cosine",
    "onecyclelr": "schedules OneCycle",
    "reducelronplateau": "schedules Plateau",
    "inversetimedecay": "schedules InverseScaling",
    # norms
    "batchnorm": "batch",
    "batchnorm1d": "batch",
    "batchnormalization": "batch",
    "layernorm": "layer",
    "layernormalization": "layer",
    "data": "datasets",
    "loaddigits": "datasets",
    "plotting": "plots",
    "visualization": "plots",
    "visualisation": "plots",
    # functions of plots
    "plothistory": "loss_curve",
    "learningcurve": "loss_curve",
    "plotmodel": "network_diagram",
    "confusionmatrixdisplay": "confusion_matrix",
    "plotconfusionmatrix": "confusion_matrix",
    "calibrationdisplay": "calibration",
    "calibrationcurve": "calibration",
    "reliabilitydiagram": "calibration",
    "decisionboundarydisplay": "decision_boundary",
    "plotdecisionregions": "decision_boundary",
    "predictionerrordisplay": "regression_fit",
}

# Names elsewhere for a name here with parameters that are not the defaults.
_SPECS = dict.fromkeys(
    ("gelutanh", "gelunew", "gelupytorchtanh", "gelufast", "geluaccurate", "geluapproximate"),
    ("gelu", {"approximate": 1}),
)
# Values of parameters elsewhere -> the number here.
_VALUES = {("approximate", "tanh"): 1, ("approximate", True): 1, ("approximate", "none"): 0, ("approximate", False): 0}

# Names that other libraries have as attributes of a network -> what to write here instead. They cannot be assigned to
# a Network, because that would have no effect.
_PLACES = {
    "lr": "net.fit(X, y, optimizer=fastnn.SGD(lr=...))",
    "weight_decay": "net.fit(X, y, optimizer=fastnn.SGD(weight_decay=...))",
    "momentum": "net.fit(X, y, optimizer=fastnn.SGD(momentum=...))",
    "nesterov": "net.fit(X, y, optimizer=fastnn.SGD(momentum=0.9, nesterov=True))",
    "betas": "net.fit(X, y, optimizer=fastnn.Adam(betas=...))",
    "eps": "net.fit(X, y, optimizer=fastnn.Adam(eps=...))",
    "alpha": "net.fit(X, y, optimizer=fastnn.RMSprop(alpha=...))",
    "lr_decay": "net.fit(X, y, optimizer=fastnn.Adagrad(lr_decay=...))",
    "momentum_decay": "net.fit(X, y, optimizer=fastnn.NAdam(momentum_decay=...))",
    "clip_norm": "net.fit(X, y, optimizer=fastnn.SGD(clip_norm=...))",
    "clip_value": "net.fit(X, y, optimizer=fastnn.SGD(clip_value=...))",
    "l1": "net.fit(X, y, optimizer=fastnn.SGD(l1=...))",
    "decay_b": "net.fit(X, y, optimizer=fastnn.SGD(weight_decay=..., decay_b=False))",
    "average": "net.fit(X, y, optimizer=fastnn.SGD(average=...))",
    "schedule": "net.fit(X, y, optimizer=fastnn.SGD(lr=fastnn.schedules.Cosine(lr, length)))",
    "optimizer": "net.fit(X, y, optimizer=fastnn.Adam())",
    "epochs": "net.fit(X, y, epochs=...)",
    "batch_size": "net.fit(X, y, batch_size=...)",
    "shuffle": "net.fit(X, y, shuffle=...)",
    "sample_weight": "net.fit(X, y, sample_weight=...)",
    "metrics": "net.evaluate(X, y, metrics=[...])",
    "validation_data": "net.fit(X, y, validation_data=(X_val, y_val))",
    "early_stopping": "net.fit(X, y, validation_data=(X_val, y_val), early_stopping=10)",
    "class_weight": "net.fit(X, y, class_weight=...)",
    "max_seconds": "net.fit(X, y, max_seconds=...)",
    "samples": "net.fit(X, y, samples=...)",
    "validation_split": "net.fit(X, y, validation_split=...)",
    "diagnostics": "net.fit(X, y, diagnostics=True)",
    "callbacks": "net.fit(X, y, callbacks=...)",
    "progress": "net.fit(X, y, progress=...)",
    "label_smoothing": 'fastnn.Network(sizes, loss=("cross_entropy", {"label_smoothing": ...}))',
    "pos_weight": 'fastnn.Network(sizes, loss=("binary_cross_entropy", {"pos_weight": ...}))',
    "dropout": "fastnn.Network(sizes, dropout=...)",
    "norm": "fastnn.Network(sizes, norm=...)",
    "trainable": "net.trainable = [True, False, ...]",
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
    "flat_parameters": "net.set_flat_parameters(v)",
    "running_statistics": "net.set_running_statistics([(mean, var), ...])",
    "standardisation": "net.adapt(X, y), or net.adapt(X) for X alone",
}
# Of their synonyms, words that a user may well choose for an attribute with another meaning: these can be assigned.
_WORDS = {"units", "layers", "hidden", "nfeaturesin", "batch", "cost", "objective", "iterations", "double", "half"}
_WORDS |= {"standardize", "standardise", "normalize"}
_WORDS |= {"average", "samples", "diagnostics", "schedule", "scheduler", "trainable"}
_WORDS |= {"mu", "rho", "beta", "decay", "opt", "metric", "metrics", "scoring", "patience"}
# What to write to read such a name, where that differs from what sets it.
_READINGS = {
    **{f"to_{form}": f"fastnn.exchange.to_{form}(net, path)" for form in ("onnx", "c")},
    **{f"to_{form}": f"fastnn.exchange.to_{form}(net)" for form in ("torch", "keras", "sklearn")},
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


def shown(value, width=80):
    """The beginning of an object's repr on one line, for messages; that of an array may have several."""
    return " ".join(repr(value)[: 2 * width].split())[:width]


def name_of(thing):
    """The name of a function or class, or the class name of any other object."""
    name = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def ours(name):
    """The names in fastnn for what other libraries call `name`; without a synonym, [name]."""
    found = _SYNONYMS.get(_plain(name))
    return found.split(" ") if found else [name]


def did_you_mean(name, choices):
    """Such as ``"; did you mean 'relu'?"``: the choices of which `name` is a synonym or a misspelling; else ""."""
    choices = list(choices)
    spec = _SPECS.get(_plain(name), ("",))
    found = [spec] if spec[0] in choices else [our for our in ours(name) if our in choices]
    if not found:
        import difflib  # imported late, as inspect below: its import takes a large part of the time of fastnn's

        plain = {_plain(choice): choice for choice in choices}
        found = [plain[close] for close in difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.8)]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def _did_you_mean_theirs(name, choices):
    """The same where the choices are scikit-learn's names, as those of the estimators are: such of the same meaning."""
    found = [choice for choice in choices if set(ours(choice)) & set(ours(name))]
    if "learning_rate_init" in found:
        found = ["learning_rate_init"]  # learning_rate is the name of a schedule there
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def with_value(name, parameter, value):
    """What to write instead of a parameter's value, which is one of another library; else ""."""
    number = _VALUES.get((parameter, value)) if isinstance(value, (str, bool)) else None
    return "" if number is None else f"; write {(name, {parameter: number})!r}"


def is_setting_elsewhere(name):
    """Whether `name` is a setting or weights, here or in another library, and hardly ever means anything else."""
    return ours(name)[0] in _PLACES and _plain(name) not in _WORDS


_IN_MODULES = {
    "sklearn": ("MLPClassifier", "MLPRegressor"),
    "exchange": ("from_keras", "from_onnx", "from_sklearn", "from_torch", "to_c", "to_keras", "to_onnx", "to_sklearn")
    + ("to_torch",),
    "callbacks": ("CSVLog", "Checkpoint"),
    "datasets": ("load_digits", "load_fashion_mnist"),
    "schedules": ("Cosine", "Exponential", "InverseScaling", "OneCycle", "Plateau", "Step"),
    "tabular": ("TabularModel",),
}


def in_module(name):
    """Such as ``": write fastnn.exchange.to_onnx"``: a name or synonym that a module of fastnn has; else ""."""
    found = [f"{module}.{our}" for our in (name, *ours(name)) for module in _IN_MODULES if our in _IN_MODULES[module]]
    return f": write fastnn.{found[0]}" if found else ""


def assignment(name):
    """What to write instead of ``net.name = value``."""
    return f"write {_PLACES[ours(name)[0]]}"


def attribute(name):
    """What to write instead of ``net.name``."""
    read = [_READINGS[our] for our in ours(name) if our in _READINGS]
    return f"write {read[0] if read else _PLACES[ours(name)[0]]}"


_OPTIMIZERS = ("SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adagrad")
_TRAINERS = ("Network", "fit", *_OPTIMIZERS)  # users often give an argument of one of these to another one
# Settings of optimizers in PyTorch or Keras that have one value here.
_ONE_VALUE = {
    "amsgrad": "leave it out; here it is always False",
    "centered": "leave it out; here it is always False",
    "maximize": "leave it out; a network always minimises its loss",
    "dampening": "leave it out; here it is always 0",
    "initialaccumulatorvalue": "leave it out; here the sum of squares begins with 0",
    "decoupledweightdecay": "fastnn.AdamW has decoupled weight decay, all others have coupled weight decay",
    **dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), "leave it out; it does not change the step"),
}


def argument(function, name, accepted):
    """The message of the TypeError for a keyword argument `name` that `function` does not have."""
    text, our = f"{function}() has no argument {name!r}", ours(name)[0]
    if function in _OPTIMIZERS and _plain(name) in _ONE_VALUE:
        return f"{text}: {_ONE_VALUE[_plain(name)]}"
    if our in accepted or our not in _PLACES or function not in _TRAINERS:
        told = did_you_mean(name, accepted) or _did_you_mean_theirs(name, accepted)
        return text + (told or f"; it has {', '.join(accepted)}")
    return f"{text}; write {_PLACES[our]}"


# Attributes and methods that a network has in scikit-learn, Keras or PyTorch.
# fmt: off
NAMES_ELSEWHERE = frozenset((
    "predict_proba", "predict_log_proba", "decision_function", "predict_on_batch", "score", "partial_fit",
    "train_on_batch", "test_on_batch", "weights", "W", "b", "bias", "coefs_", "intercepts_", "coef_", "intercept_",
    "trainable_variables", "trainable_weights", "state_dict", "get_weights", "named_parameters", "set_weights",
    "load_state_dict", "load", "load_weights", "save_weights", "compile", "train", "eval", "zero_grad",
    "lr", "learning_rate", "optimizer", "n_iter_", "loss_curve_", "best_loss_", "history", "count_params",
    "hidden_layer_sizes", "n_features_in_", "random_state", "activation", "double", "half", "requires_grad",
    "training", "call", "to_onnx", "to_torch", "to_keras", "to_sklearn", "to_c",
))
# fmt: on


class Elsewhere:
    """Descriptor for a name that a class does not have: reading it raises an AttributeError that says what to write.

    An instance may still have an attribute of that name.

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
    """Add an `Elsewhere` to the class `owner` for each name; `instead(name)` returns what to write.

    Not by __getattr__: with it, reading an existing attribute takes three times as long.
    """
    for name in names:
        here = Elsewhere(instead(name))
        here.__set_name__(owner, name)
        setattr(owner, name, here)


def explained(function):
    """Decorator: if a call has an argument that `function` does not have, the TypeError says what to write."""

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
    """Whether the signature of `function` does not accept the positional arguments `args`."""
    import inspect

    try:
        inspect.signature(function, follow_wrapped=False).bind(*args)
    except TypeError:
        return True
    except ValueError:  # some compiled functions have no signature
        pass
    return False


_TARGETS = {"y", "ytrue", "true", "target", "targets", "label", "labels"}
_OUTPUTS = {"a", "ypred", "yhat", "yscore", "pred", "preds", "prediction", "predictions", "output", "outputs"}


def takes(function, first, second):
    """Whether the names of the first two parameters of `function` are among the plain names `first` and `second`."""
    import inspect

    try:
        names = [_plain(name) for name in inspect.signature(function).parameters][:2]
    except (TypeError, ValueError):  # some compiled functions have no signature
        return False
    return len(names) == 2 and names[0] in first and names[1] in second


def takes_targets_first(function):
    """Whether a function is of (y, A), as its parameters' names say."""
    return takes(function, _TARGETS, _OUTPUTS)


def takes_outputs_first(function):
    """Whether a function is of (A, y), as its parameters' names say."""
    return takes(function, _OUTPUTS, _TARGETS)


def _misfit(function, args, kwargs):
    """The message about the wrong argument of a call; None if there is none, or if Python's own message is enough."""
    import inspect

    names = list(inspect.signature(function).parameters)
    owner, _, name = function.__qualname__.rpartition(".")
    if name == "__init__":
        name = owner
    elif function.__module__.startswith("fastnn.sklearn."):
        name = f"{owner}.{name}"  # no method of a network
    accepted = [p for p in names if p != "self"]
    for key in kwargs:
        if key not in names:
            if owner not in ("", "Network", name) and args and key in inspect.signature(type(args[0])).parameters:
                return f"{name}() has no argument {key!r}; write {owner}({key}=...)"  # a setting of the object
            return argument(name, key, accepted)
        if key in names[: len(args)]:
            if accepted[0] == "lr":
                return (
                    f"{name}() got {key} twice: it holds settings only, and no parameters; write fastnn.{name}(lr=...)"
                )
            return f"{name}() got {key} twice, by position and by name; positional order: {', '.join(accepted)}"
    return None
