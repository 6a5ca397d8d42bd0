"""The C99 functions that files of to_c are made of, in the symbols of `_numpy.py`.

`real` is float or double, and exp, tanh, log, log1p and erf are replaced by their forms for float. Nothing else of the
C library is used.
"""

LINEAR = """\
/* z = W x + b. Long sums are made of blocks, so that they keep their precision. */
static void linear(const real *W, const real *b, size_t n_in, size_t n_out, const real *x, real *z)
{
  for (size_t i = 0; i < n_out; i++, W += n_in) {
    real sum = b[i];
    for (size_t k = 0; k < n_in; k += 128) {
      const size_t end = n_in - k < 128 ? n_in : k + 128;
      real part = 0;
      for (size_t j = k; j < end; j++)
        part += W[j] * x[j];
      sum += part;
    }
    z[i] = sum;
  }
}
"""

# The integer n stands for the number (n - zero) / inverse, within -128 .. 127; NaN becomes -128.
QUANTISED = """\
static void quantised(const real *x, size_t n, real inverse, int zero, int8_t *q)
{
  for (size_t i = 0; i < n; i++) {
    const real v = x[i] * inverse + (real)zero;
    q[i] = (int8_t)(v > -128 ? v < 127 ? (int)(v + (real)128.5) - 128 : 127 : -128);
  }
}

/* z = W x + b, where W and x are of integers, and `start` of row i is -zero times its sum of W. */
static void linear_int8(const int8_t *W, const int32_t *start, const real *scale, const real *b, size_t n_in,
                        size_t n_out, const int8_t *q, real *z)
{
  for (size_t i = 0; i < n_out; i++, W += n_in) {
    int32_t sum = start[i];
    for (size_t j = 0; j < n_in; j++)
      sum += (int32_t)W[j] * q[j];
    z[i] = (real)sum * scale[i] + b[i];
  }
}
"""

LAYER_NORM = """\
/* z = gamma (z - mean) / sqrt(var + 1e-5) + beta, over all of z */
static void layer_norm(const real *gamma, const real *beta, size_t n, real *z)
{
  double mean = 0, var = 0;
  for (size_t i = 0; i < n; i++)
    mean += (double)z[i];
  mean /= (double)n;
  for (size_t i = 0; i < n; i++)
    var += ((double)z[i] - mean) * ((double)z[i] - mean);
  var = var / (double)n + 1e-5;
  double scale = 1; /* var may be the square of the largest real */
  for (; var > 1e30 && var < 1e300; scale *= 1e-15)
    var *= 1e-30;
  double r = (double)exp((real)-0.5 * log((real)var)); /* 1 / sqrt(var), and a step of Newton's for the last digits */
  if (r > 0)
    r *= 1.5 - 0.5 * var * r * r;
  for (size_t i = 0; i < n; i++)
    z[i] = (real)(((double)z[i] - mean) * scale * r) * gamma[i] + beta[i];
}
"""

SOFTMAX = """\
static void softmax(real *z, size_t n)
{
  real max = z[0], sum = 0;
  for (size_t i = 1; i < n; i++)
    max = z[i] > max ? z[i] : max;
  for (size_t i = 0; i < n; i++)
    sum += z[i] = exp(z[i] - max);
  for (size_t i = 0; i < n; i++)
    z[i] /= sum;
}
"""

# Functions that others call, by the name of what calls them.
_SIGMOID = """\
static real sigmoid(real z)
{
  const real e = exp(z > 0 ? -z : z);
  return (z > 0 ? 1 : e) / (1 + e);
}
"""
_ELU = """\
/* exp(z) - 1 = 2 t / (1 - t) with t = tanh(z / 2), which keeps its precision near 0 */
static real elu(real z, real alpha)
{
  const real t = tanh(z / 2);
  return z > 0 ? z : alpha * (2 * t / (1 - t));
}
"""
HELPERS = {"silu": ("sigmoid",), "gelu_tanh": ("sigmoid",), "selu": ("elu",)}

# One number each; the parameters of tables.py follow z.
ELEMENTWISE = {
    "sigmoid": _SIGMOID,
    "elu": _ELU,
    "tanh": "",  # the C library's
    "relu": """\
static real relu(real z)
{
  return z < 0 ? 0 : z;
}
""",
    "leaky_relu": """\
static real leaky_relu(real z, real slope)
{
  return z > 0 ? z : slope * z;
}
""",
    "selu": """\
static real selu(real z)
{
  return (real)1.0507009873554804934 * elu(z, (real)1.6732632423543772848);
}
""",
    "gelu": """\
/* z P(N(0, 1) < z); where that is small, by Laplace's continued fraction of the tail */
static real gelu(real z)
{
  if (z > -2)
    return z / 2 * (1 + erf(z * (real)0.70710678118654752440));
  const real x = z < -40 ? 40 : -z;
  real r = x;
  for (int k = sizeof(real) < 8 ? 20 : 80; k > 0; k--)
    r = x + (real)k / r;
  return -x * (real)0.39894228040143267794 * exp(-x * x / 2) / r;
}
""",
    "gelu_tanh": """\
static real gelu_tanh(real z)
{
  const real x = z > 40 ? 40 : z < -40 ? -40 : z;
  return (z < -40 ? x : z) * sigmoid((real)1.5957691216057307 * (x + (real)0.044715 * x * x * x));
}
""",
    "silu": """\
static real silu(real z)
{
  return z * sigmoid(z);
}
""",
    "softplus": """\
static real softplus(real z)
{
  return z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
}
""",
}

MAIN = """\

static int after_blanks(void)
{{
  int c = getchar();
  while (c == ' ' || c == '\\t' || c == '\\r')
    c = getchar();
  return c;
}}

/* Reads rows from stdin, each a line of {n_in} numbers that white space or commas separate, and writes {n_out} numbers
   for each. */
int main(void)
{{
  static real x[{n_in}], y[{n_out}];
  for (unsigned long row = 1;; row++) {{
    int c = after_blanks();
    while (c == '\\n')
      c = after_blanks();
    if (c == EOF)
      return 0;
    size_t i = 0;
    while (i < {n_in} && c != '\\n' && c != EOF && ungetc(c, stdin) == c && scanf("{read}", &x[i]) == 1) {{
      i++;
      c = after_blanks();
      if (c == ',')
        c = after_blanks();
    }}
    if (i < {n_in} || (c != '\\n' && c != EOF)) {{
      fprintf(stderr, "row %lu is not a line of {n_in} numbers\\n", row);
      return 1;
    }}
    {name}(x, y);
    for (i = 0; i < {n_out}; i++)
      printf("{write}%c", (double)y[i], i + 1 < {n_out} ? ' ' : '\\n');
  }}
}}
"""
