"""to_keras and from_keras: outputs, norms with Keras's numbers, parts that a network cannot have."""

import os

import numpy as np
import pytest

from case_helpers import bits
from fastnn import Network
from fastnn.exchange import from_keras, to_keras
from networks_that_travel import OTHERS, adapted_network, drawn_network

pytestmark = [
    pytest.mark.slow,  # Keras takes seconds to import
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # its own, with torch
    pytest.mark.filterwarnings("ignore:You passed `rms_scaling:UserWarning"),
]

HERE = [kind for kind in OTHERS if kind != ("gelu", {"approximate": 1.0})]


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@pytest.fixture
def layers(keras):
    return keras.layers


def outputs(keras, model, X, dtype="float32"):
    """What the model gives for samples as columns."""
    return keras.ops.convert_to_numpy(model(np.ascontiguousarray(X.T, dtype), training=False)).T


def assert_near(got, wanted, bound=1e-6):
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= bound * max(1, np.abs(wanted).max())


def test_networks_give_the_same_there_and_back(keras, rng, dtype):
    for i in range(30):
        net, X = drawn_network(rng, i, dtype, HERE, [*HERE, "softmax"])
        model = to_keras(net)
        assert_near(outputs(keras, model, X, dtype), net.predict(X), 1e-5)  # with torch it multiplies in float32
        again = from_keras(model, loss=net.loss_name)
        assert (again.sizes, again.activations, again.loss_name) == (net.sizes, net.activations, net.loss_name)
        assert (again.dtype, again.norm, again.dropout) == (net.dtype, net.norm, net.dropout)
        assert bits(again) == bits(net)
        assert again.predict(X).tobytes() == net.predict(X).tobytes()


def test_h06_square_layers_are_not_transposed(keras, layers):
    net = Network([2, 2], ["identity"], "mse")
    net.set_parameters([([[1, 2], [3, 4]], [0, 0])])
    model = to_keras(net)
    assert outputs(keras, model, np.array([[1], [10]])).ravel().tolist() == [21, 43]
    assert model.layers[0].get_weights()[0].tolist() == [[1, 3], [2, 4]]
    assert from_keras(model).predict([[1], [10]]).ravel().tolist() == [21, 43]


def test_a_model_of_keras(keras, layers, rng):
    norm = layers.Normalization()
    norm.adapt(rng.standard_normal((50, 6)) * 10 + 1000)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Flatten(),
            layers.Rescaling(2.0, offset=1.0),
            norm,
            keras.Sequential(
                [layers.Dense(6), layers.BatchNormalization(), layers.ReLU(negative_slope=0.25), layers.Dropout(0.2)]
            ),
            layers.Dense(6, activation="leaky_relu", use_bias=False),
            layers.Dense(6),
            layers.LayerNormalization(center=False),
            layers.Activation("swish"),
            layers.Dense(5, trainable=False),
            layers.BatchNormalization(scale=False),
            layers.ELU(0.5),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )
    for layer in _all_layers(keras, model):
        if layer is not norm:
            layer.set_weights([T + rng.random(T.shape) for T in layer.get_weights()])
    net = from_keras(model)
    assert net.activations[:2] == (("leaky_relu", {"slope": 0.25}), ("leaky_relu", {"slope": 0.2}))
    assert net.trainable == (True, True, True, False, True)
    assert net.dropout == (0.2, 0, 0, 0)
    X = (rng.standard_normal((6, 40)) * 10 + 500).astype(np.float32)
    assert_near(net.predict(X), outputs(keras, model, X), 1e-5)
    assert_near(outputs(keras, to_keras(net), X), outputs(keras, model, X), 1e-5)


def _all_layers(keras, model):
    for layer in model.layers:
        yield from _all_layers(keras, layer) if isinstance(layer, keras.Sequential) else [layer]


@pytest.mark.parametrize("mean", [0, 1, 4, 1e5])
def test_standardisation(keras, rng, dtype, mean):
    for with_y in (True, False):
        net, X = adapted_network(rng, dtype, mean, with_y)
        model = to_keras(net)
        assert_near(outputs(keras, model, X, dtype), net.predict(X))
        assert len(model.layers) == (2 if mean < 2 else 3)
        assert_near(from_keras(model).predict(X), net.predict(X), 1e-6 if dtype == "float32" else 1e-10)


def test_it_trains_on(keras, rng):
    net = Network([4, 4, 3], norm="batch", dropout=0.1, seed=0)
    X, y = rng.standard_normal((4, 90)).astype(np.float32), rng.integers(0, 3, 90)
    model = to_keras(net, logits=True)
    assert (model.layers[1].momentum, model.layers[1].epsilon) == (0.9, 1e-5)  # as ours
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X.T, y, epochs=3, verbose=0)
    after = from_keras(model, loss="cross_entropy")
    assert bits(after) != bits(net)
    assert_near(after.predict(X), keras.ops.convert_to_numpy(keras.ops.softmax(outputs(keras, model, X).T)).T)


def test_what_a_network_cannot_have_is_named(keras, layers):
    class Odd(layers.Dense):
        pass

    for parts, message in [
        ((layers.Dense(3), layers.PReLU()), r"\(PReLU\) .* no such layer"),
        ((layers.Dense(3, activation="mish"),), r"\(Dense\) .* 'mish' is none of ours"),
        ((layers.Dense(3, activation=lambda z: z),), r"\(Dense\) .* is none of ours"),
        ((layers.Dense(3), layers.ReLU(max_value=6)), r"\(ReLU\) .* greatest value"),
        ((layers.Dense(3, "relu"), layers.BatchNormalization(), layers.Dense(3)), r"\(BatchNormalization\) .* before"),
        ((layers.Dense(3), layers.Softmax(axis=0)), r"\(Softmax\) .* axis is 0"),
        ((layers.Dense(3), layers.LayerNormalization(rms_scaling=True), layers.Dense(3)), r"\(LayerNormalization\)"),
        ((layers.Dense(3), layers.Normalization(mean=0.0, variance=1.0)), r"\(Normalization\) .* before the first"),
        ((layers.Normalization(mean=0.0, variance=1.0, invert=True), layers.Dense(3)), r"\(Normalization\) .* inverse"),
        ((layers.Rescaling(-1.0), layers.Dense(3)), r"\(Rescaling\) .* above 0"),
        ((layers.Rescaling(np.ones((3, 1))), layers.Dense(3)), r"\(Rescaling\) .* the shape \(3, 1\)"),
        ((layers.Dropout(0.5), layers.Dense(3)), r"\(Dropout\)"),
        ((layers.Dense(3), layers.LayerNormalization()), "layer norm after its output"),
        ((Odd(3),), r"\(Odd\)"),
        ((), "no layer with weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_keras(keras.Sequential([keras.Input((3,)), *parts]))
    images = [keras.Input((2, 3, 4)), layers.Flatten(data_format="channels_first"), layers.Dense(2)]
    with pytest.raises(ValueError, match=r"\(Flatten\) .* channels first"):
        from_keras(keras.Sequential(images))
    with pytest.raises(ValueError, match="no weights yet"):
        from_keras(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(TypeError, match="load_model"):
        from_keras("model.keras")
    x = keras.Input((3,))
    functional = keras.Model(x, layers.Dense(2)(layers.Dense(3)(x)))
    assert from_keras(functional).sizes == from_keras(keras.Sequential(functional.layers)).sizes == (3, 3, 2)
    with pytest.raises(ValueError, match="layer 1 is gelu in tanh's form"):
        to_keras(Network([2, 2], [("gelu", {"approximate": 1})]))
    with pytest.raises(TypeError, match="logits must be"):
        to_keras(Network([2, 2]), logits="yes")


def test_a_functional_model(keras, layers, rng):
    X = rng.standard_normal((4, 20)).astype(np.float32)
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, "tanh")])
    twice, relu = layers.Dense(4, bias_initializer="normal"), layers.ReLU()
    hidden = relu(twice(relu(twice(inner(inputs)))))
    tensor = layers.Dropout(0.25)(hidden, training=False)
    model = keras.Model(inputs, layers.Dense(3, "softmax")(inputs=tensor))
    net = from_keras(model)
    assert (net.sizes, net.activations) == ((4, 4, 4, 4, 3), ("tanh", "relu", "relu", "softmax"))
    assert net.dropout == (0.0, 0.0, 0.25)
    assert_near(net.predict(X), outputs(keras, model, X))
    assert bits(from_keras(keras.Sequential([keras.Input((4,)), model]))) == bits(net)
    half = keras.Model(inputs, hidden)
    assert_near(from_keras(half).predict(X), outputs(keras, half, X))


def test_a_functional_model_that_does_not_follow_one_line_is_named(keras, layers):
    inputs = keras.Input((4,))
    tensor = layers.Dense(4)(inputs)
    for outputs_, message in (
        (layers.Dense(2)(keras.ops.relu(tensor)), r"layer 'relu\w*' \(Relu\) .* no such layer"),
        (layers.Add()([inputs, tensor]), r"\(Add\) .* takes 2 tensors"),
        ([tensor, layers.Dense(2)(tensor)], "1 inputs and 2 outputs"),
        (layers.BatchNormalization()(tensor, training=True), r"\(BatchNormalization\) .* called with more than"),
        (keras.ops.multiply(tensor, 2.0), r"\(Multiply\) .* called with more than"),
    ):
        with pytest.raises(ValueError, match=message):
            from_keras(keras.Model(inputs, outputs_))

    class Own(keras.Model):
        def call(self, x):
            return 2 * x

    with pytest.raises(TypeError, match=r"got Own: if it only calls its layers in turn, .*Sequential\(model\.layers\)"):
        from_keras(Own())
