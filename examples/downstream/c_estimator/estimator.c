/* A linear least-squares estimator that learns by steps of fastnn's network, from plain C. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fastnn.h>

static const fnn_api *api;

/* fit(rows, values, n_in, steps, lr): bytes of float64 rows (m x n_in) and values (m); the weights and the bias. */
static PyObject *fit(PyObject *self, PyObject *args) {
  Py_buffer rows, values;
  Py_ssize_t n_in, steps;
  double lr;
  (void)self;
  if (!PyArg_ParseTuple(args, "y*y*nnd", &rows, &values, &n_in, &steps, &lr)) return NULL;
  PyObject *result = NULL;
  const ptrdiff_t m = values.len / (ptrdiff_t)sizeof(double);
  const fnn_layer linear = {sizeof linear, 1, {FNN_IDENTITY, {0}}};
  const fnn_spec mse = {FNN_MSE, {0}};
  fnn_net *net = NULL;
  double *W = malloc((size_t)(n_in + 1) * sizeof *W), *ended = malloc((size_t)steps * 2 * sizeof *ended);
  if (rows.len != m * n_in * (ptrdiff_t)sizeof(double)) {
    PyErr_Format(PyExc_ValueError, "rows has %zd bytes, wanted %zd numbers for each of %zd values", rows.len, n_in, m);
  } else if (!W || !ended || !(net = api->net_new(api->isa_best(), FNN_FLOAT64, n_in, 1, &linear, &mse))) {
    PyErr_NoMemory();
  } else {
    const fnn_matrix X = {rows.buf, 1, n_in, FNN_FLOAT64};
    const fnn_targets targets = {.size = sizeof targets, .Y = {values.buf, 1, 1, FNN_FLOAT64}};
    const fnn_optimizer sgd = {.size = sizeof sgd, .kind = FNN_SGD, .lr = lr};
    fnn_fit job = {
        .size = sizeof job, .optimizer = &sgd, .batch = m, .max_batches = steps, .max_epochs = steps, .ended = ended};
    PyThreadState *state = PyEval_SaveThread();
    const int status = api->net_train(net, &X, &targets, m, &job, 1);
    PyEval_RestoreThread(state);
    if (status) {
      PyErr_NoMemory();
    } else {
      const fnn_matrix w = {W, n_in, 1, FNN_FLOAT64}, b = {W + n_in, 1, 1, FNN_FLOAT64};
      api->net_get(net, 0, FNN_W, &w);
      api->net_get(net, 0, FNN_B, &b);
      result = PyList_New(n_in + 1);
      for (Py_ssize_t i = 0; result && i <= n_in; i++) PyList_SET_ITEM(result, i, PyFloat_FromDouble(W[i]));
    }
  }
  if (net) api->net_free(net);
  free(W);
  free(ended);
  PyBuffer_Release(&rows);
  PyBuffer_Release(&values);
  return result;
}

/* predict(address, row, n_out): one sample through a predictor of fastnn, float32. */
static PyObject *predict(PyObject *self, PyObject *args) {
  unsigned long long address;
  Py_buffer row;
  Py_ssize_t n_out;
  (void)self;
  if (!PyArg_ParseTuple(args, "Ky*n", &address, &row, &n_out)) return NULL;
  PyObject *out = PyBytes_FromStringAndSize(NULL, n_out * (Py_ssize_t)sizeof(float));
  if (out) {
    const ptrdiff_t n_in = row.len / (ptrdiff_t)sizeof(float);
    const fnn_matrix X = {row.buf, 1, n_in, FNN_FLOAT32}, A = {PyBytes_AS_STRING(out), 1, n_out, FNN_FLOAT32};
    if (api->net_predict((const fnn_net *)(uintptr_t)address, &A, &X, 1, 1)) Py_CLEAR(out);
  }
  PyBuffer_Release(&row);
  return out ? out : PyErr_NoMemory();
}

static PyMethodDef methods[] = {
    {"fit", fit, METH_VARARGS, NULL}, {"predict", predict, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "estimator", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_estimator(void) {
  api = fastnn_import();
  return api ? PyModule_Create(&module) : NULL;
}
