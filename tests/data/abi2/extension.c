/* An extension as another package compiled it when the C interface 2 was made, against the header beside this file.
   tests/test_abi.py compiles it as it is and runs it on the core of the day. Neither of the two is ever changed. */
#include <Python.h>

#include "fastnn.h"

enum {
  N_IN = 3,
  HIDDEN = 5,
  N_OUT = 2,
  M = 40
};

static const ptrdiff_t sizes[] = {N_IN, HIDDEN, N_OUT};

/* Of a matrix of floats by columns. */
static fnn_matrix by_columns(float *data, ptrdiff_t rows) {
  const fnn_matrix x = {data, 1, rows, FNN_FLOAT32};
  return x;
}

static fnn_net *make_net(const fnn_api *api) {
  const fnn_layer layers[] = {{sizeof(fnn_layer), HIDDEN, {FNN_LEAKY_RELU, {0.25}}},
                              {sizeof(fnn_layer), N_OUT, {FNN_SOFTMAX, {0}}}};
  const fnn_spec loss = {FNN_CROSS_ENTROPY, {0}};
  fnn_net *net = api->net_new(api->isa_best(), FNN_FLOAT32, N_IN, 2, layers, &loss);
  for (int l = 0; net && l < 2; l++) {
    float W[HIDDEN * HIDDEN], b[HIDDEN];
    for (int i = 0; i < sizes[l + 1] * sizes[l]; i++) W[i] = (float)(i * 7 % 11 - 5) / 8;
    for (int i = 0; i < sizes[l + 1]; i++) b[i] = (float)(i % 3 - 1) / 4;
    const fnn_matrix W_of_l = by_columns(W, sizes[l + 1]), b_of_l = by_columns(b, sizes[l + 1]);
    if (api->net_set(net, l, FNN_W, &W_of_l) || api->net_set(net, l, FNN_B, &b_of_l)) return NULL;
  }
  return net;
}

/* Numbers of the core, one after another, as a list. */
static int add(PyObject *list, const float *numbers, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) {
    PyObject *number = PyFloat_FromDouble(numbers[i]);
    if (!number || PyList_Append(list, number)) return -1;
    Py_DECREF(number);
  }
  return 0;
}

/* trained() -> list: the losses of the epochs, W and b of each layer by columns, predictions, the mean loss, dW of
   layer 0, and the activation of the first column of X by linear_forward. */
static PyObject *trained(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  const fnn_api *api = fastnn_import();
  if (!api) return NULL;
  fnn_net *net = make_net(api);
  PyObject *list = PyList_New(0);
  if (!net || !list || api->net_start_optimizer(net, 2)) return PyErr_NoMemory();
  float X[N_IN * M], A[N_OUT * M], W[HIDDEN * HIDDEN], b[HIDDEN], dW[2][HIDDEN * HIDDEN], db[2][HIDDEN];
  int32_t codes[M];
  double ended[2 * 6], total, weights[M];
  uint32_t order[M];
  for (int i = 0; i < N_IN * M; i++) X[i] = (float)(i * 37 % 61 - 30) / 32;
  for (int j = 0; j < M; j++) codes[j] = j * 5 % 3 % 2, weights[j] = 1 + j % 2;
  const fnn_matrix x = by_columns(X, N_IN), a = by_columns(A, N_OUT);
  const fnn_targets targets = {.size = sizeof targets, .codes = codes, .weights = weights};
  const fnn_optimizer adam = {
      .size = sizeof adam, .kind = FNN_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
  fnn_fit fit = {.size = sizeof fit,
                 .optimizer = &adam,
                 .batch = 16,
                 .shuffle = 1,
                 .seed = 3,
                 .max_batches = 1000,
                 .max_epochs = 6,
                 .order = order,
                 .ended = ended};
  if (api->net_train(net, &x, &targets, M, &fit, 2) || fit.ended_count != 6 || !fit.finite) return PyErr_NoMemory();
  for (int epoch = 0; epoch < 6; epoch++) {
    const float loss = (float)(ended[2 * epoch] / ended[2 * epoch + 1]);
    if (add(list, &loss, 1)) return NULL;
  }
  fnn_matrix gradients[4];
  for (int l = 0; l < 2; l++) {
    const fnn_matrix W_of_l = by_columns(W, sizes[l + 1]), b_of_l = by_columns(b, sizes[l + 1]);
    if (api->net_get(net, l, FNN_W, &W_of_l) || api->net_get(net, l, FNN_B, &b_of_l)) return PyErr_NoMemory();
    if (add(list, W, sizes[l + 1] * sizes[l]) || add(list, b, sizes[l + 1])) return NULL;
    gradients[2 * l + FNN_W] = by_columns(dW[l], sizes[l + 1]);
    gradients[2 * l + FNN_B] = by_columns(db[l], sizes[l + 1]);
  }
  if (api->net_predict(net, &a, &x, M, 2) || add(list, A, N_OUT * M)) return PyErr_NoMemory();
  if (api->net_gradients(net, &total, gradients, &x, &targets, M, 1)) return PyErr_NoMemory();
  double whole = 0;
  for (int j = 0; j < M; j++) whole += weights[j];
  const float loss = (float)(total / whole);
  if (add(list, &loss, 1) || add(list, dW[0], HIDDEN * N_IN)) return NULL;
  const fnn_spec tanh = {FNN_TANH, {0}};
  const fnn_matrix W_0 = by_columns(dW[0], HIDDEN), b_0 = by_columns(db[0], HIDDEN), out = by_columns(b, HIDDEN);
  if (api->linear_forward(0, &out, &W_0, &x, &b_0, &tanh, HIDDEN, N_IN, 1, 1, 1) || add(list, b, HIDDEN)) return NULL;
  api->net_free(net);
  return list;
}

static PyMethodDef methods[] = {{"trained", trained, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "extension", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_extension(void) { return PyModule_Create(&module); }
