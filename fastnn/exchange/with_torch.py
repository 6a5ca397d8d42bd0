"""to_torch and from_torch: a network as torch.nn.Sequential, and back."""

from collections.abc import Mapping

import numpy as np

from .. import norms
from ..settings import check_flag
from . import plain_layers
from .plain_layers import foreign


def to_torch(net, logits=False):
    """A torch module that computes what the network predicts, of rows: (m, n_0) gives (m, n_L).

    Parameters
    ----------
    net : Network
        Or a fitted estimator that has one.
    logits : bool
        True: without the softmax or sigmoid at the output, as torch's ``CrossEntropyLoss`` and
        ``BCEWithLogitsLoss`` want it.

    Returns
    -------
    torch.nn.Sequential
        In evaluation mode (``.train()`` turns dropout and batch statistics on), on the CPU, with copies of the
        weights. Layers that are frozen do not require gradients. Standardisation is folded into the first and last
        layer; where a mean is large beside its scale, a first layer subtracts the means without a rounding.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> net = Network([4, 4, 3], seed=0, dropout=0.1)
    >>> to_torch(net)  # doctest: +NORMALIZE_WHITESPACE
    Sequential(
      (0): Linear(in_features=4, out_features=4, bias=True)
      (1): ReLU()
      (2): Dropout(p=0.1, inplace=False)
      (3): Linear(in_features=4, out_features=3, bias=True)
      (4): Softmax(dim=-1)
    )
    """
    torch = foreign("torch", "to_torch")
    check_flag("logits", logits)
    plain = plain_layers.of_network(net, "to_torch")
    if logits:
        plain = plain_layers.without_output(plain)
    centre, plain = plain_layers.centred(plain)
    plain = plain.in_dtype(plain.dtype)
    modules = []
    if centre is not None:
        # x times the identity is x, to the last bit.
        modules.append(_linear(torch, np.eye(len(centre), dtype=plain.dtype), -centre).requires_grad_(False))
    for layer in plain.layers:
        made = [_linear(torch, layer.W, layer.b)]
        if layer.norm:
            made.append(_norm(torch, layer.norm))
        if layer.activation.name != "identity":
            made.append(_activation(torch, *layer.activation))
        if layer.dropout:
            made.append(torch.nn.Dropout(layer.dropout))
        modules += [module.requires_grad_(layer.is_trainable) for module in made]
    return torch.nn.Sequential(*modules).eval()


def _linear(torch, W, b):
    module = torch.nn.Linear(W.shape[1], W.shape[0], dtype=_tensor(torch, b).dtype, device="cpu")
    module.weight.data, module.bias.data = _tensor(torch, W), _tensor(torch, b)
    return module


def _norm(torch, norm):
    n, settings = len(norm.gamma), {"eps": norms.EPS, "dtype": _tensor(torch, norm.gamma).dtype, "device": "cpu"}
    if norm.kind == "layer":
        module = torch.nn.LayerNorm(n, **settings)
    else:
        module = torch.nn.BatchNorm1d(n, momentum=norms.MOMENTUM, **settings)
        module.running_mean, module.running_var = _tensor(torch, norm.mean), _tensor(torch, norm.var)
    module.weight.data, module.bias.data = _tensor(torch, norm.gamma), _tensor(torch, norm.beta)
    return module


def _tensor(torch, T):
    return torch.from_numpy(np.array(T, order="C"))


def _activation(torch, name, params):
    nn = torch.nn
    table = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "softmax": lambda: nn.Softmax(dim=-1),
        "leaky_relu": lambda: nn.LeakyReLU(params["slope"]),
        "elu": lambda: nn.ELU(params["alpha"]),
        "selu": nn.SELU,
        "gelu": lambda: nn.GELU("tanh" if params["approximate"] else "none"),
        "silu": nn.SiLU,
        "softplus": lambda: nn.Softplus(threshold=_SOFTPLUS_ENDS),
    }
    return plain_layers.known(table, name, "to_torch")()


_SOFTPLUS_ENDS = 40  # log(1 + exp(z)) is z from here on, in float64 too; torch's default is 20


def from_torch(model, activations=None, loss=None):
    """The Network of a torch module, or of its weights.

    Parameters
    ----------
    model : torch.nn.Sequential or dict
        Linear layers, each followed by BatchNorm1d or LayerNorm, an activation and Dropout, or by some of these, in
        this order; Flatten before the first, Identity and nested Sequential anywhere. Or the ``state_dict()`` of a
        module that calls its layers in the order in which it was given them, each once, a norm before the activation:
        weights do not say how they are used.
    activations : sequence, with a state_dict
        One for each linear layer, as for :class:`fastnn.Network`.
    loss : str, (str, dict) or callable, optional
        As for :class:`fastnn.Network`. If the model ends in a linear layer and the loss needs softmax or sigmoid
        outputs, the network has them: it predicts probabilities where the model gives logits.

    Returns
    -------
    Network
        With copies of the weights, in float64 if a weight is, else in float32. It predicts what the model gives in
        evaluation mode. Layers whose weight needs no gradient are frozen. Norms keep their function, not their
        momentum: training moves running statistics by a tenth of the way.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError, TypeError
        For a part that a Network cannot have; the message names it.

    Examples
    --------
    >>> net = from_torch(to_torch(Network([4, 4, 3], ["gelu", "softmax"], seed=0)))
    >>> net.sizes, net.activations
    ((4, 4, 3), (('gelu', {'approximate': 0.0}), 'softmax'))
    """
    torch = foreign("torch", "from_torch")
    reader = plain_layers.Reader("the torch model")
    if isinstance(model, Mapping):
        _read_weights(torch, reader, model, activations)
    elif activations is not None:
        raise ValueError("activations goes with a state_dict; those of a Sequential are its modules")
    elif not isinstance(model, torch.nn.Sequential):
        told = ": write from_torch(model.state_dict(), activations=[...])" if isinstance(model, torch.nn.Module) else ""
        raise TypeError(f"model must be a torch.nn.Sequential or a state_dict, got {type(model).__name__}{told}")
    else:
        _read_modules(torch, reader, model, "")
    return plain_layers.to_network(reader.result(), loss)


def _read_modules(torch, reader, model, prefix):
    name = f"{type(model).__name__} {prefix}".strip()
    if type(model).forward is not torch.nn.Sequential.forward:
        reader.refuse(name, "it has a forward of its own")
    _refuse_hooks(reader, name, model)
    for key, module in model._modules.items():  # named_children() has a module that occurs twice once
        name = f"{type(module).__name__} {prefix}{key}"
        if isinstance(module, torch.nn.Sequential):
            _read_modules(torch, reader, module, f"{prefix}{key}.")
        else:
            _read_module(torch, reader, name, module)


def _refuse_hooks(reader, name, module):
    """Refuse a module whose hooks may change what goes in, what comes out, or the weight, as old weight_norm does."""
    if module._forward_hooks or module._forward_pre_hooks:
        reader.refuse(name, "it has hooks: remove them, those of pruning and weight_norm by prune.remove and the like")


def _read_module(torch, reader, name, module):
    nn, kind = torch.nn, type(module)  # not isinstance: a subclass may compute something else
    _refuse_hooks(reader, name, module)
    if kind is nn.Linear:
        W, b = _array(reader, name, module.weight), _array(reader, name, module.bias)
        reader.linear(name, W, b, is_trainable=module.weight.requires_grad)
    elif kind is nn.BatchNorm1d:
        arrays = (module.weight, module.bias, module.running_mean, module.running_var)
        reader.norm(name, "batch", *(_array(reader, name, T) for T in arrays), module.eps)
    elif kind is nn.LayerNorm:
        if len(module.normalized_shape) != 1:
            reader.refuse(name, "it is over more than the units of a sample")
        gamma, beta = _array(reader, name, module.weight), _array(reader, name, module.bias)
        reader.norm(name, "layer", gamma, beta, eps=module.eps)
    elif kind is nn.Dropout:
        reader.dropout(name, module.p)
    elif kind is nn.Flatten:
        if (module.start_dim, module.end_dim) != (1, -1):
            reader.refuse(name, f"it is of the dimensions {module.start_dim} to {module.end_dim}, wanted 1 to -1")
        reader.flatten(name)
    elif kind is not nn.Identity:
        reader.activation(name, _spec(torch, reader, name, module))


def _spec(torch, reader, name, module):
    """The activation's name, or (name, parameters)."""
    nn, kind = torch.nn, type(module)
    plain = {nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.ReLU: "relu", nn.SELU: "selu", nn.SiLU: "silu"}
    if kind in plain:
        return plain[kind]
    if kind is nn.Softmax:
        if module.dim not in (1, -1):
            reader.refuse(name, f"its dim is {module.dim}, wanted 1 or -1, over the units of a sample")
        return "softmax"
    if kind is nn.LeakyReLU:
        return "leaky_relu", {"slope": module.negative_slope}
    if kind is nn.ELU:
        return "elu", {"alpha": module.alpha}
    if kind is nn.GELU:
        return "gelu", {"approximate": float(module.approximate == "tanh")}
    if kind is nn.Softplus:
        if module.beta != 1 or module.threshold < 20:
            reader.refuse(name, "its beta must be 1, and its threshold 20 or more")
        return "softplus"
    told = ": leave it out, and give loss='cross_entropy'" if kind is nn.LogSoftmax else ""
    return reader.refuse(name, f"there is no such layer in fastnn{told}")


def _read_weights(torch, reader, weights, activations):
    """The layers of a state_dict, by the shapes of what it holds."""
    groups = {}
    for key, T in weights.items():
        if not isinstance(key, str) or not isinstance(T, torch.Tensor):
            told = f": write from_torch(model[{key!r:.80}], ...)" if _are_weights(torch, T) else ""
            raise TypeError(f"a state_dict holds tensors by name, got {key!r:.80}: {type(T).__name__}{told}")
        owner, _, part = key.rpartition(".")
        groups.setdefault(owner, {})[part] = _array(reader, key, T)
    linear = [owner for owner, parts in groups.items() if getattr(parts.get("weight"), "ndim", 0) == 2]
    if not isinstance(activations, (list, tuple)) or len(activations) != len(linear):
        raise ValueError(
            f"a state_dict does not say its activations: give a list of one for each of its {len(linear)} linear layers"
        )
    specs, last = iter(activations), None
    for owner, parts in groups.items():
        parts.pop("num_batches_tracked", None)
        name, W, b = owner or "the module", parts.pop("weight", None), parts.pop("bias", None)
        mean, var = parts.pop("running_mean", None), parts.pop("running_var", None)
        if parts or (mean is None) != (var is None):
            reader.refuse(f"{owner}.{next(iter(parts), 'running_mean')}", "it is no part of a linear layer or a norm")
        if owner in linear:
            if last is not None:
                reader.activation(name, last)
            reader.linear(name, W, b)
            last = next(specs)
        else:
            reader.norm(name, "layer" if mean is None else "batch", W, b, mean, var)
    if last is not None:
        reader.activation(linear[-1], last)


def _are_weights(torch, T):
    """Whether it is a state_dict, such as one that a checkpoint holds."""
    return isinstance(T, Mapping) and bool(T) and all(isinstance(value, torch.Tensor) for value in T.values())


def _array(reader, name, T):
    """A NumPy array of a tensor; None of None."""
    if T is None:
        return None
    try:
        T = T.detach().cpu()
        return (T.float() if T.dtype.itemsize == 2 and T.is_floating_point() else T).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # quantised, sparse, without data
        return reader.refuse(name, str(error).partition("\n")[0])
