"""to_torch and from_torch: outputs, gradients, modes, parts that a network cannot have."""

import numpy as np
import pytest

from case_helpers import bits
from fastnn import Adam, Network
from fastnn.exchange import from_torch, to_torch
from networks_that_travel import adapted_network, check_parity, drawn_network

pytestmark = pytest.mark.slow  # torch takes seconds to import


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def nn(torch):
    return torch.nn


def outputs(torch, model, X, dtype):
    """What the module gives for samples as columns."""
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(X.T, dtype))).numpy().T


def assert_near(got, wanted, bound=1e-6):
    assert np.abs(got - wanted).max() <= bound * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("count", [60])
def test_networks_give_the_same_there_and_back(torch, rng, dtype, count):
    for i in range(count):
        net, X = drawn_network(rng, i, dtype)
        model = to_torch(net)
        assert not model.training
        check_parity(net, X, outputs(torch, model, X, dtype), has_plain_gelu=True)
        again = from_torch(model, loss=net.loss_name)
        assert (again.sizes, again.activations, again.loss_name) == (net.sizes, net.activations, net.loss_name)
        assert (again.dtype, again.norm, again.dropout) == (net.dtype, net.norm, net.dropout)
        assert bits(again) == bits(net)
        assert again.predict(X).tobytes() == net.predict(X).tobytes()
        by_weights = from_torch(model.state_dict(), activations=net.activations)
        assert by_weights.predict(X).tobytes() == net.predict(X).tobytes()


def test_h06_square_layers_are_not_transposed(torch, nn):
    net = Network([2, 2], ["identity"], "mse", dtype="float64")
    net.set_parameters([([[1, 2], [3, 4]], [0, 0])])
    model = to_torch(net)
    assert model(torch.tensor([[1.0, 10.0]], dtype=torch.float64)).tolist() == [[21, 43]]
    assert from_torch(model).predict([[1], [10]]).ravel().tolist() == [21, 43]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.SiLU(), nn.Linear(5, 5))
    X = torch.randn(40, 5)
    assert_near(from_torch(model).predict(X.T), outputs(torch, model, X.numpy().T, "float32"))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
def test_gradients_are_the_same(torch, rng, loss):
    activations = ["tanh", "gelu", "identity"] if loss == "mse" else None
    net = Network([6, 6, 6, 4], activations, loss, dtype="float64", norm=["layer", "batch"], seed=1)
    X = rng.standard_normal((6, 30))
    y = rng.integers(0, 4, 30) if loss == "cross_entropy" else rng.random((4, 30))
    model = to_torch(net, logits=loss != "mse")
    A, target = model(torch.from_numpy(X.T.copy())), torch.from_numpy(y.T.copy())
    if loss == "cross_entropy":
        J = torch.nn.functional.cross_entropy(A, target)
    elif loss == "binary_cross_entropy":
        J = torch.nn.functional.binary_cross_entropy_with_logits(A, target, reduction="sum") / 30
    else:
        J = ((A - target) ** 2).sum() / 30
    J.backward()
    J_ours, gradients = net.gradients(X, y)
    assert J.item() == pytest.approx(J_ours, rel=1e-12)
    theirs = [p.grad.numpy() for p in model.parameters()]
    ours = [T for layer in gradients for T in layer]
    for got, wanted in zip(theirs, ours, strict=True):
        assert_near(got, wanted.reshape(got.shape), 1e-12)
    # and back: the module's weights in a network have the module's gradients
    twin = from_torch(model, loss=loss)
    assert [T.tobytes() for layer in twin.gradients(X, y)[1] for T in layer] == [T.tobytes() for T in ours]


def test_in_training_mode_it_drops_and_uses_the_batch(torch, rng):
    net = Network([8, 8, 8, 2], ["relu", "tanh", "identity"], "mse", norm=["batch", None], dropout=[0.0, 0.5], seed=0)
    X, Y = rng.standard_normal((8, 64)), rng.standard_normal((2, 64))
    net.fit(X, Y, 3, progress=False)
    model = to_torch(net).train()
    before = outputs(torch, model, X, "float32")
    assert np.abs(before - outputs(torch, model, X, "float32")).max() > 1e-3
    ours, _ = net.gradients(X, Y, training=True)
    assert np.isfinite(ours)
    model = to_torch(net)
    model[1].train()
    outputs(torch, model, X, "float32")  # moves the running statistics as an update does
    model.eval()
    twin = from_torch(model)
    net.train_step(X, Y)
    for got, wanted in zip(twin.running_statistics[0], net.running_statistics[0], strict=True):
        assert_near(got, wanted)


@pytest.mark.parametrize("mean", [0, 1, 4, 1e5])
@pytest.mark.parametrize("with_y", [True, False])
def test_standardisation(torch, rng, dtype, mean, with_y):
    net, X = adapted_network(rng, dtype, mean, with_y)
    model = to_torch(net)
    check_parity(net, X, outputs(torch, model, X, dtype))
    assert len(model) == (3 if mean < 2 else 4)
    assert [p.requires_grad for p in model.parameters()] == [False] * (len(model) * 2 - 6) + [True] * 4
    twin = from_torch(model)
    assert_near(twin.predict(X) / 5000, net.predict(X) / 5000, 1e-6 if dtype == "float32" else 1e-10)


def test_frozen_layers_stay_frozen(torch):
    net = Network([3, 3, 3, 2], norm="batch", seed=0)
    net.trainable = [True, False, True]
    model = to_torch(net)
    assert [p.requires_grad for p in model.parameters()] == [True] * 4 + [False] * 4 + [True] * 2
    assert from_torch(model).trainable == net.trainable


def test_logits(torch, rng):
    for kind, inverse in (("softmax", lambda Z: torch.softmax(Z, 1)), ("sigmoid", torch.sigmoid)):
        net = Network([4, 4, 3], ["relu", kind], seed=0)
        X = rng.standard_normal((4, 7))
        Z = to_torch(net, logits=True)(torch.from_numpy(X.T.astype("f4")))
        assert_near(inverse(Z).detach().numpy().T, net.predict(X))
        again = from_torch(to_torch(net, logits=True), loss=net.loss_name)
        assert again.predict(X).tobytes() == net.predict(X).tobytes()
    with pytest.raises(ValueError, match="which is tanh here"):
        to_torch(Network([2, 2], ["tanh"]), logits=True)
    with pytest.raises(TypeError, match="logits must be"):
        to_torch(net, logits=1)


def test_a_module_that_torch_trained(torch, nn, rng):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, eps=1e-3, momentum=0.5), nn.ReLU(), nn.Dropout(0.2)),
        nn.Identity(),
        nn.Sequential(
            nn.Linear(6, 6, bias=False), nn.LayerNorm(6, eps=1e-2, bias=False), nn.Softplus(), nn.Dropout(0.0)
        ),
        nn.Linear(6, 3),
        nn.BatchNorm1d(3, affine=False),
        nn.Softmax(dim=1),
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    X = torch.randn(50, 6)
    for _ in range(20):
        optimizer.zero_grad()
        (model(X)[:, 0].sum() - 3).square().backward()
        optimizer.step()
    model.eval()
    net = from_torch(model)
    assert net.dropout == (0.2, 0.0)
    assert net.norm == ("batch", "layer")
    assert_near(net.predict(X.T), model(X).detach().numpy().T)
    assert_near(outputs(torch, to_torch(net), X.numpy().T, "float32"), model(X).detach().numpy().T)
    history = net.fit(X.T, rng.integers(0, 3, 50), 3, optimizer=Adam(), progress=False)
    assert history.loss[-1] < history.loss[0]


def test_a_module_that_occurs_twice_is_read_twice(torch, nn):
    act, square = nn.ReLU(), nn.Linear(4, 4)
    block = nn.Sequential(nn.Linear(4, 4), act)
    model = nn.Sequential(square, act, square, act, block, block, nn.Linear(4, 2))
    net = from_torch(model)
    assert net.activations == ("relu",) * 4 + ("identity",)
    X = torch.randn(30, 4)
    assert_near(net.predict(X.T), model(X).detach().numpy().T)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_dtypes(torch, nn, kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.ELU(0.5), nn.Linear(4, 2)).to(getattr(torch, kind))
    net = from_torch(model)
    assert net.dtype == ("float64" if kind == "float64" else "float32")
    X = torch.randn(5, 4).to(getattr(torch, kind))
    wanted = model.to(getattr(torch, net.dtype.name))(X.to(getattr(torch, net.dtype.name)))
    assert_near(net.predict(X.float().T if kind != "float64" else X.T), wanted.detach().numpy().T)


def test_what_a_network_cannot_have_is_named(torch, nn):
    from torch.nn.utils import prune

    class Odd(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    class OwnForward(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + 1

    one, two = nn.Linear(3, 3), nn.Linear(3, 2)
    prelu = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    hooked, masked, nested = nn.Linear(3, 3), nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3))
    for module in (hooked, nested):
        module.register_forward_hook(lambda module, given, found: 2 * found)
    prune.l1_unstructured(masked, "weight", amount=3)  # by a hook, whose weight is that of the last call
    for parts, message in [
        ((one, nn.ReLU(), nn.Linear(4, 2)), "Linear 2 .* takes 4 numbers, and the layer before it gives 3"),
        ((one, nn.PReLU(), two), "PReLU 1 .* no such layer"),
        ((one, nn.LogSoftmax(1)), "LogSoftmax 1 .* give loss='cross_entropy'"),
        ((one, nn.Softmax(0)), "Softmax 1 .* its dim is 0"),
        ((one, nn.Softplus(2.0)), "Softplus 1 .* its beta"),
        ((one, nn.LeakyReLU(-1.0), two), "LeakyReLU 1 .* at least 0"),
        ((one, nn.ReLU(), nn.Tanh(), two), "Tanh 2 .* one of each"),
        ((one, nn.Dropout(0.5), nn.ReLU(), two), "ReLU 2 .* before"),
        ((nn.Dropout(0.5), one), "Dropout 0 .* after each hidden layer"),
        ((one, nn.Dropout(0.5)), "dropout after its output"),
        ((one, nn.LayerNorm(3)), "layer norm after its output"),
        ((one, nn.ReLU(), nn.BatchNorm1d(3), two), "BatchNorm1d 2 .* before the layer's activation"),
        ((nn.BatchNorm1d(3), one), "BatchNorm1d 0 .* after a layer"),
        ((one, nn.BatchNorm1d(3, track_running_stats=False), two), "BatchNorm1d 1 .* its numbers for each"),
        ((one, nn.BatchNorm1d(3), nn.LayerNorm(3), two), "LayerNorm 2 .* a norm already"),
        ((one, nn.LayerNorm(4), two), "LayerNorm 1 .* each of the 3 units"),
        ((nn.Unflatten(1, (3, 1)), one), "Unflatten 0 "),
        ((one, nn.Flatten()), "Flatten 1 "),
        ((Odd(3, 3), two), "Odd 0 "),
        ((prelu, two), "ParametrizedLinear 0 "),
        ((nn.Sequential(one, nn.Sequential(nn.GLU())), two), "GLU 0.1.0 "),
        ((OwnForward(one), two), "OwnForward 0. .* a forward of its own"),
        ((hooked, two), "Linear 0 .* has hooks"),
        ((masked, two), "Linear 0 .* prune.remove"),
        ((nested, two), "Sequential 0. .* has hooks"),
        ((nn.Flatten(0), one), "Flatten 0 .* dimensions 0 to -1"),
        ((nn.Conv1d(3, 3, 1), two), "Conv1d 0 "),
        ((nn.LazyLinear(3),), "LazyLinear 0 "),
        ((nn.Linear(3, 3, device="meta"),), "Linear 0 "),
        ((nn.Linear(3, 3, dtype=torch.complex64),), "Linear 0 .* holds complex64"),
        ((nn.ReLU(),), "ReLU 0 "),
        ((), "no layer with weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_torch(nn.Sequential(*parts))
    with pytest.raises(TypeError, match=r"model.state_dict\(\)"):
        from_torch(one)
    with pytest.raises(TypeError, match="must be a torch"):
        from_torch("model.pt")
    with pytest.raises(ValueError, match="goes with a state_dict"):
        from_torch(nn.Sequential(one), activations=["relu"])
    with pytest.raises(TypeError, match="to_torch takes"):
        to_torch(one)


def test_a_state_dict(torch, nn):
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)

        def forward(self, x):
            return torch.sigmoid(self.last(torch.relu(self.norm(self.first(x)))))

    model = Module().eval()
    X = torch.randn(6, 4)
    net = from_torch(model.state_dict(), ["relu", "sigmoid"])
    assert_near(net.predict(X.T), model(X).detach().numpy().T)
    with pytest.raises(ValueError, match="one for each of its 2 linear layers"):
        from_torch(model.state_dict())
    with pytest.raises(ValueError, match="one for each of its 2 linear layers"):
        from_torch(model.state_dict(), ["relu"])
    for wrong in ({"first": "relu", "last": "sigmoid"}, (name for name in ("relu", "sigmoid")), "relu"):
        with pytest.raises(ValueError, match="give a list of one for each of its 2 linear layers"):
            from_torch(model.state_dict(), wrong)
    with pytest.raises(TypeError, match=r"got 'net': OrderedDict: write from_torch\(model\['net'\], \.\.\.\)"):
        from_torch({"net": model.state_dict(), "epoch": 3}, ["relu", "sigmoid"])
    with pytest.raises(TypeError, match=r"got 'epoch': int$"):
        from_torch({"epoch": 3}, ["relu", "sigmoid"])
    with pytest.raises(ValueError, match=r"first\.more .* no part of"):
        from_torch({**model.state_dict(), "first.more": X}, ["relu", "sigmoid"])
    with pytest.raises(TypeError, match="tensors by name"):
        from_torch({"first.weight": np.ones((2, 2))}, ["relu"])
    odd = model.state_dict()
    odd["norm.running_var"] = odd["norm.running_var"] - 5
    with pytest.raises(ValueError, match=r"norm of the torch model .* a variance is negative"):
        from_torch(odd, ["relu", "sigmoid"])
    with pytest.raises(ValueError, match=r"last of the torch model .* no 'relx'"):
        from_torch(model.state_dict(), ["relu", "relx"])
